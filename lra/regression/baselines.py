"""The file results/baselines.yaml: the runs that `check` repeats, and the results to compare with."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Annotated, Any, Literal

import dacite
from annotated_types import Ge, Gt, Interval, Lt

from attention_impls.ranges import problems
from lra.core.config import BackendName, Run, as_dict, from_dict, resolve
from lra.core.documents import RECORD_BYTES, read_yaml, yaml_text
from lra.core.errors import UserError
from lra.core.files import write_atomically
from lra.core.spec import Spec
from lra.regression.prediction import Expected
from lra.terminal.console import console
from lra.training.history import FIRST_STEPS
from tasks.locks import held

SCHEMA = 1
SEEDS = 8  # the fewest seeds of a baseline
LINE = 300  # the most characters quoted from another library's error
Share = Annotated[float, Interval(ge=0, le=1)]
Count = Annotated[int, Ge(1)]
Seed = Annotated[int, Ge(0)]
HEAD = """\
# What `run_lra.py check` compares with. A cell is added by hand, everything above its `baseline`; the baseline itself
# is measured by `run_lra.py check --update --cell NAME` and never edited.
"""


@dataclass(frozen=True, kw_only=True)
class SpeedRule:
    """The throughput test of a cell: training steps of the standard model, in turn with those of softmax.

    Cells whose ratio is not stable have no such test: on a CPU, JAX uses all cores that are free at the moment.
    """

    length: Count
    batch: Count
    rounds: Annotated[int, Ge(4)]
    factor: Annotated[float, Gt(1)]
    """The factor by which the ratio may fall below the baseline's."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """The measured results of a cell, and how they were made."""

    mean: Share
    std: Annotated[float, Ge(0)]
    n: Count
    accuracies: list[Share]
    """Test accuracy by seed, in the order of the cell's `seeds`."""
    clean: list[Share]
    """Test accuracy by seed, in the order of the cell's `clean_seeds`."""
    examples: Count
    """Number of test examples."""
    without_learning: dict[str, Share]
    """Test accuracy of rules without learning."""
    data: str
    data_hash: str
    curve: list[Annotated[float, Gt(0)]]
    """Losses of the first training steps of the first seed, without dropout."""
    ratio: Annotated[float, Gt(0)] | None
    """Samples per second divided by those of softmax: the median over rounds."""
    commit: str | None
    clean_checkout: bool | None
    made: dict[str, Any]
    """Date, machine and versions."""

    @property
    def expected(self) -> Expected:
        """The statistics of the seeds, for the accuracy test."""
        return Expected(mean=self.mean, std=self.std, n=self.n)


@dataclass(frozen=True, kw_only=True)
class WatchedCell:
    """One configuration that the regression test watches."""

    name: str
    task: str
    attn: str
    backend: BackendName
    preset: str
    device: Literal["cpu", "gpu"] = "cpu"
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Changes to the preset: data, options, model, train."""
    seeds: list[Seed]
    """Seeds of the baseline."""
    check_seeds: list[Seed]
    """Seeds that a check trains. Their mean is compared."""
    clean_seeds: list[Seed] = field(default_factory=list)
    """Further seeds of the same code. They measure how often the test gives a false alarm."""
    speed: SpeedRule | None = None
    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        every = [*self.seeds, *self.check_seeds, *self.clean_seeds]
        if len(self.seeds) < SEEDS:
            raise UserError(f"cell {self.name} has {len(self.seeds)} baseline seeds, expected at least {SEEDS}")
        if not self.check_seeds or len(set(every)) < len(every):
            raise UserError(f"cell {self.name}: expected check_seeds, and each seed once: runs must be independent")

    @property
    def mechanism(self) -> tuple[str, dict[str, Any]]:
        """The mechanism's name, with the options that differ from its card."""
        spec = Spec.parse(self.attn)
        return spec.name, {**spec.options, **self.changes.get("options", {})}

    def run(self, seed: int) -> Run:
        """The cell's run with a seed."""
        values = as_dict(resolve(self.task, self.attn, backend=self.backend, preset=self.preset, seed=seed))
        for part, changed in self.changes.items():
            if part not in ("data", "options", "model", "train"):
                raise UserError(f"cell {self.name}: changes of {part!r}, expected data, options, model or train")
            values[part] |= changed
        return from_dict(values, f"cell {self.name}")


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The content of the file."""

    schema: Count
    level: Annotated[float, Gt(0), Lt(0.5)]
    """The probability of a false alarm in accuracy, over all cells of one check of unchanged code."""
    cells: list[WatchedCell]


def spread(accuracies: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and number of values, named as in a Baseline."""
    return {"mean": round(fmean(accuracies), 6), "std": round(stdev(accuracies), 6), "n": len(accuracies)}


def load(path: Path) -> Baselines:
    """Read the file. UserError names the first cell and field with a fault."""
    return _checked(_values(path), path)


def load_for_update(path: Path) -> Baselines:
    """Read the file without faulty baselines; an update measures them anew."""
    return _checked(_values(path), path, doubtful=False)


def update(path: Path, cell: WatchedCell, measured: Baseline) -> None:
    """Write a cell's new baseline into the current file. UserError if the cell has changed meanwhile."""
    with held(path.with_name(f".{path.name}.lock"), lambda line: console.print(line)):
        values = _values(path)
        now = {each.name: each for each in _checked(values, path, doubtful=False).cells}
        if cell.name not in now or replace(now[cell.name], baseline=None) != replace(cell, baseline=None):
            raise UserError(f"{path}: cell {cell.name} has changed during its measurement: run check --update again")
        at = next(each for each in values["cells"] if each["name"] == cell.name)
        at["baseline"] = asdict(measured)
        text = yaml_text(values, allow_unicode=True, width=110, default_flow_style=None)
        write_atomically((HEAD + text).encode(), path)


def require_writable(path: Path) -> None:
    """Raise UserError if `update` could not write the file. Called before anything is measured."""
    for each in (path, path.parent):
        if not os.access(each, os.W_OK):
            raise UserError(f"{each} cannot be written, but an update needs to: change its permissions")


def _values(path: Path) -> Any:
    try:
        return read_yaml(path, RECORD_BYTES)
    except UserError as error:
        raise UserError(f"no baselines: {error}") from error


def _checked(values: Any, path: Path, *, doubtful: bool = True) -> Baselines:
    """The content of the file. A faulty baseline is an error, or left out."""
    if not isinstance(values, dict) or not isinstance(values.get("cells"), list):
        raise UserError(f"{path} has no baselines: expected schema, level and a list of cells")
    found = _built(Baselines, {**values, "cells": []}, str(path))
    if found.schema != SCHEMA:
        raise UserError(f"{path}: schema is {found.schema}, expected {SCHEMA}")
    cells = [_cell(each, f"{path}: cell {number}", doubtful) for number, each in enumerate(values["cells"], start=1)]
    names = [cell.name for cell in cells]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{path} has cell {name} twice: expected cells with different names")
    return replace(found, cells=cells)


def _cell(values: Any, where: str, doubtful: bool) -> WatchedCell:
    if not isinstance(values, dict) or not isinstance(values.get("name"), str):
        raise UserError(f"{where} has no name: expected name, task, attn, backend, preset, seeds, check_seeds")
    where = f"{where} ({values['name']})"
    cell = _built(WatchedCell, {**values, "baseline": None}, where)
    if values.get("baseline") is None:
        return cell
    try:
        baseline = _built(Baseline, values["baseline"], f"{where}: baseline")
        for problem in _contradictions(cell, baseline):
            raise UserError(f"{where}: baseline: {problem}")
    except UserError as error:
        if doubtful:
            raise UserError(f"{error}: restore it, or run check --update --cell {cell.name}") from error
        return cell
    return replace(cell, baseline=baseline)


def _contradictions(cell: WatchedCell, baseline: Baseline) -> Iterator[str]:
    """Numbers of a baseline that do not fit the others or the cell."""
    lengths = {"accuracies": len(cell.seeds), "clean": len(cell.clean_seeds), "curve": FIRST_STEPS}
    for name, expected in lengths.items():
        if len(getattr(baseline, name)) != expected:
            yield f"{name} has {len(getattr(baseline, name))} numbers, expected {expected}"
    for name, expected in spread(baseline.accuracies).items():
        if getattr(baseline, name) != expected:
            yield f"{name} is {getattr(baseline, name)}, but its accuracies give {expected}"
    if (baseline.ratio is None) != (cell.speed is None):
        yield f"ratio is {baseline.ratio}, expected a number if and only if the cell has a speed"


def _built(kind: type, values: Any, where: str) -> Any:
    """The dataclass of these values. UserError for unknown or missing keys, other types, or values out of range."""
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected fields and values, found {type(values).__name__}")
    try:
        found = dacite.from_dict(kind, values, dacite.Config(strict=True, type_hooks={float: _real}))
    except (dacite.DaciteError, TypeError) as error:
        raise UserError(f"{where}: {_line(error)}") from error
    for problem in problems(found):
        raise UserError(f"{where}: {problem}")
    return found


def _real(value: Any) -> Any:
    """A number as a float, also one that is too large; other values are returned for dacite to refuse."""
    if isinstance(value, bool) or not isinstance(value, int):
        return value
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:LINE]
