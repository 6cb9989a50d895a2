"""A search for the rates of one mechanism on one task: its candidates, its choice, and the file of the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lra.core.config import Run, as_dict, spelled
from lra.core.documents import json_document, json_text
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.core.identity import digest
from lra.core.markup import in_path
from lra.core.tuning import Tuning
from lra.training.record import Record

RULE = (
    "the highest validation accuracy at any evaluation; among equal ones the preset's own values, then the first in "
    "the order of the grid"
)


def shortened(run: Run, steps: int) -> Run:
    """The run with fewer steps. Its schedule keeps its shape, and the distance of evaluations stays the same.

    Raises:
        UserError: There are fewer than 2 steps, or more than the run has.
    """
    train = run.train
    if not 2 <= steps <= train.steps:
        raise UserError(f"the search has {steps:,} steps, expected 2 to {train.steps:,}, the steps of {run.preset}")
    share = steps / train.steps
    plan = replace(
        train,
        steps=steps,
        warmup=min(max(round(share * train.warmup), 1), steps - 1),
        evaluate_every=min(train.evaluate_every, steps),
        cycle=None if train.cycle is None else max(round(share * train.cycle), steps),
    )
    return replace(run, train=plan)


@dataclass(frozen=True, kw_only=True)
class Search:
    """The candidates of one mechanism on one task in one framework."""

    base: Run
    """The run at full length, with the preset's own values."""
    runs: tuple[Run, ...]
    """The candidates, in the order of the grid."""
    names: tuple[str, ...]
    """The fields of Train in which the candidates differ."""

    @property
    def tuning(self) -> Tuning:
        """The search, as runs of the choice name it."""
        values = ((name, dict.fromkeys(getattr(run.train, name) for run in self.runs)) for name in self.names)
        first = self.runs[0]
        return Tuning(grid={name: tuple(each) for name, each in values}, steps=first.train.steps, seed=first.seed)

    @property
    def title(self) -> str:
        """The title in tables."""
        base = self.base
        return " · ".join([base.task, spelled(base.attn, base.options), base.backend, base.preset])

    @property
    def name(self) -> str:
        """The name of the file of the choice: the same for the same search."""
        base = self.base
        text = json_text(as_dict(base), sort_keys=True) + str(self.tuning)
        stem = f"{base.task}-{in_path(Path(base.attn).name)}-{base.backend}-{base.preset}"
        return f"{stem}-{digest(text)[:8]}.json"

    def values(self, run: Run) -> dict[str, Any]:
        """A candidate's values of the fields that are searched."""
        return {name: getattr(run.train, name) for name in self.names}

    def chosen(self, found: Sequence[Record | None]) -> int | None:
        """The number of the candidate that RULE chooses; the test split is not used. None if none has a record."""
        own = self.values(self.base)
        ranks = [
            (each.validation_accuracy, self.values(run) == own, -number)
            for number, (run, each) in enumerate(zip(self.runs, found, strict=True))
            if each is not None
        ]
        return -max(ranks)[2] if ranks else None

    def full(self, number: int) -> Run:
        """The run at full length with the values of a candidate, and with the search in `tuned`."""
        plan = replace(self.base.train, **self.values(self.runs[number]))
        return replace(self.base, train=plan, tuned=str(self.tuning))


def write(search: Search, found: Sequence[Record | None], why: Mapping[int, str], folder: Path) -> Path:
    """Write the candidates and the choice under `folder`. `run_lra.py --config` trains the file's `config`.

    Args:
        search: The search.
        found: The record of each candidate; None for one that failed.
        why: The reasons of failed candidates, by their number.
        folder: The folder of the file.
    """
    number = search.chosen(found)
    assert number is not None, "a choice is among candidates that have a record"
    base, tuning = search.base, search.tuning
    values = {
        "task": base.task,
        "attn": spelled(base.attn, base.options),
        "backend": base.backend,
        "preset": base.preset,
        "budget": {"runs": tuning.runs, "steps": tuning.steps, "of_steps": base.train.steps, "seed": tuning.seed},
        "rule": RULE,
        "candidates": [
            {**search.values(run), **_outcome(each), **({"failed": why[place]} if place in why else {})}
            for place, (run, each) in enumerate(zip(search.runs, found, strict=True))
        ],
        "chosen": search.values(search.runs[number]),
        "config": as_dict(search.full(number)),
    }
    path = folder / search.name
    write_atomically(json_document(values), path)
    return path


def _outcome(found: Record | None) -> dict[str, Any]:
    if found is None:
        return {"validation_accuracy": None}
    return {
        "validation_accuracy": found.validation_accuracy,
        "best_step": found.best_step,
        "run_id": found.run_id,
    }
