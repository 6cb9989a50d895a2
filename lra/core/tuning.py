"""How the rates of a run were chosen: the grid of the search, and the training of each of its runs.

The spelling is learning_rate=0.0001,0.0003@weight_decay=0.0,0.01@steps=1000@seed=0. Only fields of Train that do not
change the cost of a run are searched. So the number of runs and their steps are the whole budget.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from attention_impls.ranges import shown
from lra.core.documents import json_text, parse_yaml
from lra.core.errors import UserError, did_you_mean

FOLDER = "tuning"
"""The folder of searches in the folder of results. Its folder runs holds their records."""
BUDGET = ("steps", "batch_size", "warmup", "evaluate_every", "chunk", "precision", "cycle")
"""Fields of Train that change the length of a run or the work of a step. They are not tuned."""
SPELLING = r"(|([a-z0-9_]+=[A-Za-z0-9_.+-]+(,[A-Za-z0-9_.+-]+)*@)+steps=[1-9][0-9]{0,9}@seed=[0-9]{1,10})"
EXPECTED = "a search such as learning_rate=0.0001,0.001@steps=1000@seed=0"


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A search over a grid. Every combination is trained once; the best on the validation split is chosen."""

    grid: Mapping[str, tuple[Any, ...]]
    """The values that were tried, by field of Train."""
    steps: int
    """Of each of its runs."""
    seed: int
    """Of each of its runs."""

    @classmethod
    def parse(cls, text: str) -> Tuning:
        """The inverse of `str`. UserError for any other text."""
        parts = [(name, values) for name, _, values in (each.partition("=") for each in text.split("@"))]
        if not text or not re.fullmatch(SPELLING, text) or len(dict(parts)) < len(parts):
            raise UserError(f"tuned is {shown(text)}, expected {EXPECTED}")
        *axes, (_, steps), (_, seed) = parts
        grid = {name: tuple(parse_yaml(f"[{values}]", f"tuned {text}")) for name, values in axes}
        return cls(grid=grid, steps=int(steps), seed=int(seed))

    def __str__(self) -> str:
        axes = (f"{name}={','.join(map(_value, values))}" for name, values in self.grid.items())
        return "@".join([*axes, f"steps={self.steps}", f"seed={self.seed}"])

    @property
    def runs(self) -> int:
        """The number of runs."""
        return math.prod(map(len, self.grid.values()))

    @property
    def searched(self) -> str:
        """The grid in words."""
        return " × ".join(f"{name} {', '.join(map(_value, values))}" for name, values in self.grid.items())


def budget(runs: int, steps: Iterable[int]) -> str:
    """The budget of a search in words. Its steps may differ by task."""
    counts = sorted(set(steps))
    length = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    return f"{runs:,} run{'s' * (runs > 1)} of {length} steps"


def require_spelled(tuned: str, where: str) -> None:
    """Raise UserError for a text that is neither empty nor a search. The message begins with `where`."""
    try:
        if tuned:
            Tuning.parse(tuned)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


def check(tuned: str, train: Any) -> None:
    """Raise UserError if the run's own values are not among those that the search tried.

    Args:
        tuned: The spelling of the search; empty: no search.
        train: The run's own Train.
    """
    if not tuned:
        return
    for name, values in Tuning.parse(tuned).grid.items():
        require_tunable(name, train, f"tuned {tuned}")
        if (own := getattr(train, name)) not in values:
            raise UserError(f"train.{name} is {own}, expected a value that the search tried: {tuned}")


def require_tunable(name: str, train: Any, where: str) -> None:
    """Raise UserError for a name that is not a field of Train, or is in BUDGET. The message begins with `where`."""
    known = [each.name for each in fields(train) if each.name not in BUDGET]
    if name in BUDGET:
        raise UserError(
            f"{where}: train.{name} changes the cost of a run, so it cannot be tuned: available: {', '.join(known)}"
        )
    if name not in known:
        raise UserError(f"{where}: train has no field {name}:{did_you_mean(name, known)} available: {', '.join(known)}")


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json_text(value)
