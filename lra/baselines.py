"""results/baselines.yaml: the runs that `check` repeats, and what they scored when all was well."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Literal

import dacite
import yaml

from lra.checkpoint import write_atomically
from lra.config import BackendName, Run, UserError, as_dict, from_dict, resolve
from lra.prediction import Expected

SCHEMA = 1
SEEDS = 8  # the fewest that a baseline may rest on
HEAD = """\
# What `run_lra.py check` compares with. A cell is added by hand, everything above its `baseline`; the baseline itself
# is measured by `run_lra.py check --update --cell NAME` and never edited.
"""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """How a cell's throughput is compared with that of softmax: training steps of the standard model, in turn.

    A cell does without where the ratio is not steady: on a CPU, JAX takes whatever cores others leave it.
    """

    length: int
    batch: int
    rounds: int
    factor: float
    """By how much the ratio may fall below the baseline's before it counts as a loss."""

    def __post_init__(self) -> None:
        if self.rounds < 4 or self.factor <= 1:
            raise UserError(f"speed has rounds {self.rounds}, factor {self.factor}: expected at least 4, more than 1")


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What a cell's runs scored, and how they were made."""

    mean: float
    std: float
    n: int
    accuracies: list[float]
    """Test accuracy by seed, in the order of the cell's `seeds`."""
    clean: list[float]
    """The same for its `clean_seeds`."""
    examples: int
    """Of the test split."""
    without_learning: dict[str, float]
    """Test accuracy of rules that need no learning."""
    data: str
    data_hash: str
    curve: list[float]
    """The loss of the first training steps of the first seed, without dropout."""
    ratio: float | None
    """Samples a second over those of softmax: the median over rounds."""
    commit: str | None
    clean_checkout: bool | None
    made: dict[str, Any]
    """When, where and with which versions."""

    @property
    def expected(self) -> Expected:
        """The seeds as the accuracy test takes them."""
        return Expected(mean=self.mean, std=self.std, n=self.n)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One configuration that is watched."""

    name: str
    task: str
    attn: str
    backend: BackendName
    preset: str
    device: Literal["cpu", "gpu"] = "cpu"
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What differs from the preset: data, options, model, train."""
    seeds: list[int]
    """Those of the baseline."""
    check_seeds: list[int]
    """Those that a check trains; the mean over them is compared."""
    clean_seeds: list[int] = field(default_factory=list)
    """Runs of the same code that a baseline is tried on: how often would they have been called a regression?"""
    speed: Speed | None = None
    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        every = [*self.seeds, *self.check_seeds, *self.clean_seeds]
        if len(self.seeds) < SEEDS:
            raise UserError(f"cell {self.name} has {len(self.seeds)} baseline seeds, expected at least {SEEDS}")
        if not self.check_seeds or len(set(every)) < len(every):
            raise UserError(f"cell {self.name}: expected check_seeds, and no seed twice: the runs must be independent")

    def run(self, seed: int) -> Run:
        """The cell's run with this seed."""
        values = as_dict(resolve(self.task, self.attn, backend=self.backend, preset=self.preset, seed=seed))
        for part, changed in self.changes.items():
            if part not in ("data", "options", "model", "train"):
                raise UserError(f"cell {self.name}: changes of {part!r}, expected data, options, model or train")
            values[part] |= changed
        return from_dict(values, f"cell {self.name}")


@dataclass(frozen=True, kw_only=True)
class Baselines:
    """The whole file."""

    schema: int
    level: float
    """The probability that a check of unchanged code calls the accuracy of any of its cells a loss."""
    cells: list[Cell]


def spread(accuracies: Sequence[float]) -> dict[str, Any]:
    """Mean, standard deviation and number, named as in a Baseline."""
    return {"mean": round(fmean(accuracies), 6), "std": round(stdev(accuracies), 6), "n": len(accuracies)}


def load(path: Path) -> Baselines:
    """Read the file; UserError where it is none."""
    try:
        values = yaml.safe_load(path.read_text())
        found = dacite.from_dict(Baselines, values, dacite.Config(strict=True, cast=[float]))
    except (OSError, ValueError, TypeError, yaml.YAMLError, dacite.DaciteError) as error:
        raise UserError(f"{path} holds no baselines: {error}") from error
    names = [cell.name for cell in found.cells]
    if found.schema != SCHEMA or not 0 < found.level < 0.5 or len(set(names)) < len(names):
        raise UserError(f"{path}: expected schema {SCHEMA}, a level between 0 and 0.5, and cells of different names")
    return found


def save(baselines: Baselines, path: Path) -> None:
    """Write the file, what is empty left out."""
    values = asdict(baselines)
    values["cells"] = [{name: value for name, value in cell.items() if value} for cell in values["cells"]]
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    write_atomically((HEAD + text).encode(), path)
