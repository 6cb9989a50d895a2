"""A record as the `model-index` block that Hugging Face reads from the head of a model's README.

Layout: https://github.com/huggingface/hub-docs/blob/main/modelcard.md. Accuracies are fractions, as in records.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import tasks
from lra.core.documents import yaml_text
from lra.core.errors import UserError
from lra.scores.board import LEARNING
from lra.training.record import Record, name


def find(records: Mapping[str, Record], wanted: str) -> Record:
    """The record whose id is `wanted`, or the only one whose id begins with it."""
    fitting = [identity for identity in records if identity.startswith(wanted)]
    if wanted in records:
        return records[wanted]
    if len({records[identity].run_id for identity in fitting}) == 1:
        return records[fitting[0]]
    near = fitting or difflib.get_close_matches(wanted, list(records), n=1)
    hint = f"did you mean {' or '.join(near[:4])}? " if near else ""
    raise UserError(
        f"--model-index {wanted}: {'several runs begin with it' if fitting else 'unknown run'}: {hint}"
        "expected a run_id, whose first digits end the file name of its record"
    )


def model_index(record: Record) -> str:
    """The block as YAML."""
    task = tasks.load(record.task)
    known = {field.name for field in fields(task.options)}
    options = {name: value for name, value in record.config["data"].items() if name in known}
    seen = task.shape(task.options(**options)).grid is not None
    note = f", preset {record.preset}: undertrained, not a ranking" if record.preset == LEARNING else ""
    result: dict[str, Any] = {
        "task": {"type": "image-classification" if seen else "text-classification", "name": task.title},
        "dataset": {
            "type": f"lra-{record.task}",
            "name": f"Long Range Arena, {task.title}: {record.data}",
            "split": "test",
            "revision": record.data_hash,
            "args": {"version": record.task_version, **record.config["data"]},
        },
        "metrics": [
            {
                "type": "accuracy",
                "name": f"test accuracy at the best validation step{note}",
                "value": record.test_accuracy,
                "args": {
                    "standard_error": float(f"{record.standard_error:.3g}"),
                    "examples": record.test_examples,
                    "seed": record.seed,
                    "without_learning": record.references,
                },
            }
        ],
    }
    block = {"model-index": [{"name": name(record, record.run_id), "results": [result]}]}
    return yaml_text(block, allow_unicode=True, width=120)
