"""From records to the rows and columns of a leaderboard, one board for each preset: pure functions without files.

A column is one task on one data set. Other versions, lengths or presets never share it. A row is one mechanism with its
options on one backend, with the changes of its configuration to the preset.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import tasks
from lra.core.errors import UserError
from lra.core.presets import preset_options
from lra.scores import overrides, significance
from lra.scores.significance import Estimate
from lra.scores.speeds import RowSpeed, Speeds
from lra.training import record
from lra.training.record import Record
from tasks.base import TaskError

RANKED, RECIPE, LEARNING = "standard", "s4", "quick"
PRESETS = (RANKED, RECIPE, LEARNING)  # without smoke, which only shows that every part works
FIVE = ("listops", "text", "retrieval", "image", "pathfinder")
LONGER = ("pathx", "path256")
SUBSTITUTE = {"retrieval": "retrieval-aan1818"}  # our own data set beside the official one
OFFICIAL, GENERATED, FOREIGN = "official", "generated", "not an official set"


@dataclass(frozen=True, kw_only=True)
class Column:
    """One task on one data set. Accuracies are fractions; only tables have per cent."""

    task: str
    version: int
    data: str
    data_hash: str
    origin: str
    """OFFICIAL, GENERATED or FOREIGN."""
    whole: bool
    """Whether the data has the preset's sizes. Only such columns enter an average."""
    examples: int
    validation: str
    references: dict[str, float]

    @property
    def key(self) -> tuple[str, int, str]:
        """The key of the column, which no other column has."""
        return self.task, self.version, self.data_hash


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The runs of one row on one column's data, one for each seed."""

    runs: tuple[Record, ...]

    @property
    def accuracies(self) -> list[float]:
        """Test accuracy of each seed at its best validation step."""
        return [run.test_accuracy for run in self.runs]

    @property
    def mean(self) -> float:
        """Mean over all seeds, also those at chance."""
        return fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """Sample standard deviation over seeds; None for one seed."""
        return stdev(self.accuracies) if len(self.runs) > 1 else None

    @property
    def converged(self) -> int:
        """The number of seeds that left chance."""
        return sum(not run.at_chance for run in self.runs)

    @property
    def estimate(self) -> Estimate:
        """The mean with its standard error."""
        return significance.of_runs(self.accuracies, self.runs[0].test_examples)


@dataclass(frozen=True, kw_only=True)
class Average:
    """A mean over the five tasks, each from one named column."""

    title: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One mechanism with its options, changes and search for rates, on one backend."""

    attn: str
    options: dict[str, Any]
    """All options, also those at their defaults."""
    words: tuple[str, ...]
    """The flags that a command line needs besides task, mechanism, backend, preset and seed."""
    backend: str
    cells: tuple[Cell | None, ...]
    """A cell for each column of the board."""
    training: RowSpeed | None
    inference: RowSpeed | None
    tuned: str = ""
    """The budget of the search for its rates: "tuned (6 runs of 1,000 steps)". Empty without a search."""

    @property
    def name(self) -> str:
        """The mechanism as a command line names it: "softmax --attn.local-conv", then the budget of its search."""
        return " ".join([Path(self.attn).name, *self.words]) + (f", {self.tuned}" if self.tuned else "")

    @property
    def plain(self) -> bool:
        """Whether it has the card's default options and the preset's values."""
        return not self.words and not self.tuned

    @property
    def runs(self) -> list[Record]:
        """Every run of the row."""
        return [run for cell in self.cells if cell for run in cell.runs]


@dataclass(frozen=True, kw_only=True)
class Board:
    """The content of one preset's table."""

    preset: str
    """The preset, with its version if that is superseded: "quick v1"."""
    columns: tuple[Column, ...]
    averages: tuple[Average, ...]
    rows: tuple[Row, ...]
    speeds: Speeds | None

    @property
    def kind(self) -> str:
        """The preset without its version."""
        return self.preset.partition(" ")[0]

    @property
    def slug(self) -> str:
        """The preset as part of a file name."""
        return self.preset.replace(" ", "-")

    def estimate(self, row: Row, column: int) -> Estimate | None:
        """A row's accuracy in a column. Indices after the columns are the averages."""
        if column < len(self.columns):
            cell = row.cells[column]
            return cell.estimate if cell else None
        cells = [row.cells[self.columns.index(each)] for each in self.averages[column - len(self.columns)].columns]
        parts = [cell.estimate for cell in cells if cell]
        return significance.average(parts) if len(parts) == len(cells) else None

    def best(self) -> list[list[bool]]:
        """For each row, whether each column and average cannot be distinguished from the best."""
        width = len(self.columns) + len(self.averages)
        by_column = [significance.as_good_as_best([self.estimate(row, i) for row in self.rows]) for i in range(width)]
        return [[column[index] for column in by_column] for index in range(len(self.rows))]


def read(results: Path) -> tuple[list[Record], list[str]]:
    """Every record of a preset in PRESETS under results/runs, and a line for each file that cannot be read."""
    records, complaints = [], []
    for path in sorted((results / "runs").glob("[!.]*.json"), key=_age):
        try:
            each = record.load(path)
        except UserError as error:
            complaints.append(str(error))
            continue
        try:
            preset_options(each.task, each.preset, each.attn, each.preset_version)
        except (UserError, TaskError) as error:
            complaints.append(f"{path}: {error}")
            continue
        if each.preset in PRESETS:
            records.append(each)
    # A revision only rises, so of two records of one seed the one with higher revisions is the newer one.
    return sorted(records, key=lambda each: sum(each.revisions.values())), complaints


def boards(records: Sequence[Record], speeds: Speeds | None) -> list[Board]:
    """A board for each preset with records: the ranked one first, superseded versions last."""
    by_preset: dict[str, list[Record]] = {preset: [] for preset in PRESETS}
    for each in records:
        by_preset.setdefault(overrides.preset_name(each), []).append(each)
    return [_board(preset, found, _of_model(preset, speeds)) for preset, found in by_preset.items() if found]


def _of_model(preset: str, speeds: Speeds | None) -> Speeds | None:
    """The speeds for a preset. They are measured on the small model, so the board of s4 has none."""
    return None if preset.partition(" ")[0] == RECIPE else speeds


def _board(preset: str, records: list[Record], speeds: Speeds | None) -> Board:
    columns = _columns(records)
    grouped: dict[tuple, list[Record]] = {}
    for each in records:
        grouped.setdefault(overrides.key(each), []).append(each)
    rows = [_row(group, columns, speeds) for group in grouped.values()]
    averages = [
        each
        for each in _averages(columns)
        if any(all(row.cells[columns.index(column)] for column in each.columns) for row in rows)
    ]
    rows.sort(key=lambda row: (row.name, row.backend))
    board = Board(preset=preset, columns=tuple(columns), averages=tuple(averages), rows=tuple(rows), speeds=speeds)
    return board if board.kind == LEARNING or not averages else _ranked(board)


def _ranked(board: Board) -> Board:
    """The board with rows sorted by their first average; rows without one come last."""

    def place(row: Row) -> tuple[bool, float]:
        found = board.estimate(row, len(board.columns))
        return found is None, -found.mean if found else 0.0

    return replace(board, rows=tuple(sorted(board.rows, key=place)))


def _columns(records: list[Record]) -> list[Column]:
    found: dict[tuple, Column] = {}
    for each in records:
        column = Column(
            task=each.task,
            version=each.task_version,
            data=each.data,
            data_hash=each.data_hash,
            origin=_origin(each),
            whole=not overrides.changes(each, "data"),
            examples=each.test_examples,
            validation=each.validation,
            references=each.references,
        )
        found[column.key] = column
    return sorted(found.values(), key=lambda c: (tasks.names().index(c.task), c.version, c.data, c.data_hash))


def _origin(each: Record) -> str:
    source = each.config["data"].get("source", OFFICIAL)
    return source if each.task in FIVE + LONGER and source in (OFFICIAL, GENERATED) else FOREIGN


def _averages(columns: list[Column]) -> list[Average]:
    """The averages: over the five official data sets, with generated data, and with our substitutes."""
    made = {column.task for column in columns if column.origin == GENERATED}
    also = ", ".join(task for task in FIVE if task in made)
    official = {task: (task, OFFICIAL) for task in FIVE}
    ours = {task: (task, GENERATED if task in made else OFFICIAL) for task in FIVE}
    swapped = ours | {task: (other, FOREIGN) for task, other in SUBSTITUTE.items()}
    generated = f"; {also} generated" if also else ""
    named = f"{generated}; {', '.join(SUBSTITUTE.values())}"
    wanted = {
        "average": official,
        f"average (five tasks{generated})" if also else "average": ours,
        f"average (five tasks{named})": swapped,
    }
    averages = []
    for title, parts in wanted.items():
        fitting = [[c for c in columns if c.whole and (c.task, c.origin) == part] for part in parts.values()]
        if all(len(each) == 1 for each in fitting):
            averages.append(Average(title=title, columns=tuple(each[0] for each in fitting)))
    return averages


def _row(group: list[Record], columns: list[Column], speeds: Speeds | None) -> Row:
    first = group[0]
    options = overrides.common_options(group)
    cells = []
    for column in columns:
        mine = [each for each in group if (each.task, each.task_version, each.data_hash) == column.key]
        seeds = {each.seed: each for each in mine}  # a seed that was trained again counts once, with its newest record
        cells.append(Cell(runs=tuple(seeds[seed] for seed in sorted(seeds))) if seeds else None)
    return Row(
        attn=first.attn,
        options=options,
        words=overrides.words(first),
        tuned=overrides.tuned(group),
        backend=first.backend,
        cells=tuple(cells),
        training=speeds.of(first.attn, options, first.backend, "train") if speeds else None,
        inference=speeds.of(first.attn, options, first.backend, "infer") if speeds else None,
    )


def _age(path: Path) -> tuple[str, int]:
    """A sort key: later versions of a record (name.2.json) follow the first."""
    stem, _, again = path.stem.partition(".")
    return stem, int(again) if re.fullmatch(r"[0-9]{1,9}", again) else 1
