"""The id of a run: a hash of one canonical text of everything that decides its numbers.

The text has the run's configuration as JSON with sorted keys, the hash of its data, and the revisions of the code that
computes it. The text changes only if the numbers of the run change:

- A newer field declares the value at which it changes nothing, `field(metadata={"neutral": value})`. At that value the
  text leaves it out. A configuration that is older than the field has that value, whatever the default is.
- Nobody raises revisions of a mechanism from outside the repository. The hash of its sources takes their place.
- A revision is 1, and left out, until the numbers of its part change. A change of numbers must raise it: the `revision`
  of a mechanism's card, the `version` of a task, or DROPOUT below for the training step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import attention_impls
import tasks
from lra.core.config import Run

DROPOUT = 2
"""Revision of a training step with dropout. Revision 1 drew its masks from each framework's own generator."""


def revisions(run: Run) -> dict[str, int]:
    """The revisions of the run's task, its mechanism and the training step."""
    return {
        "task": tasks.load(run.task).version,
        "attention": attention_impls.load(run.attn).card.revision,
        "training": DROPOUT if run.model.dropout > 0 else 1,
    }


def run_id(run: Run, data_hash: str) -> str:
    """Twelve hex digits, equal for equal data, mechanism, configuration, seed, backend and revisions."""
    return digest(canonical_text(run, data_hash, revisions(run)))


def digest(text: str) -> str:
    """The id of a canonical text."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def canonical_text(run: Run, data_hash: str, revised: Mapping[str, int]) -> str:
    """The text that `run_id` hashes. It always has the task's revision, as "version"."""
    later = {part: number for part, number in revised.items() if part != "task" and number > 1}
    values = {**_stated(run), "version": revised["task"], "data_hash": data_hash}
    if "/" in run.attn and (sources := attention_impls.load(run.attn).sources):
        values["sources"] = sources
    return json.dumps(values | ({"revisions": later} if later else {}), sort_keys=True, allow_nan=False)


def _stated(value: Any) -> Any:
    """A dataclass as plain values, without fields at their neutral value."""
    if not is_dataclass(value):
        return value
    return {
        field.name: _stated(getattr(value, field.name))
        for field in fields(value)
        if "neutral" not in field.metadata or getattr(value, field.name) != field.metadata["neutral"]
    }
