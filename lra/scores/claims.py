"""The claims of ELFATT's abstract, from results/claims.yaml, with the figures of our records. No verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import dacite

from lra.bench.record import MEASURED, BenchRecord, Timing, What
from lra.bench.statistics import unstable
from lra.bench.summary import Ratio, ratio, step_seconds
from lra.core.documents import read_yaml
from lra.core.environment import DATA
from lra.core.errors import UserError
from lra.scores.board import Board, Column, Row
from lra.scores.overrides import defaults
from lra.scores.speeds import device_of
from lra.training.disturbance import ALONE

PATH = DATA / "results" / "claims.yaml"
OURS = "elfatt"
TUNING = ("block_size", "layout", "kernel")  # options that do not make it another mechanism


@dataclass(frozen=True, kw_only=True)
class SpeedClaim:
    """The pairs of bench cells that test a claim about speed."""

    against: list[str]
    what: list[What]
    command: str
    """The commands that measure the claim; empty if none does."""
    options: dict[str, str] = field(default_factory=dict)
    shapes: list[str] = field(default_factory=list)
    """Prefixes of shape names; a cell must have one of them. Empty: every cell."""
    devices: list[str] = field(default_factory=list)
    """Words; the device's name must have one of them. Empty: every device."""


@dataclass(frozen=True, kw_only=True)
class AccuracyClaim:
    """The columns and presets that test a claim about accuracy."""

    tasks: list[str]
    presets: list[Literal["standard", "quick"]]
    """The presets. The claim is about the first one."""
    command: str


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim, in our words, with the paper's figures."""

    id: str
    title: str
    claim: str
    differs: str
    """The differences between our measurement and the paper's."""
    speed: SpeedClaim | None = None
    accuracy: AccuracyClaim | None = None
    open: str = ""
    """The part of the claim that no command here measures."""
    plan: str = ""
    """A way to measure that part."""
    near: str = ""
    """A page under results with a related measurement, which does not test the claim."""


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The claims of one source."""

    source: str
    claims: list[Claim]


@dataclass(frozen=True, kw_only=True)
class Factor:
    """How many times as fast elfatt is as another mechanism, in one bench record."""

    ratio: Ratio
    ours: Timing
    theirs: Timing
    record: BenchRecord
    file: str
    """The record's file name under results/bench."""

    @property
    def device(self) -> str:
        """The device's name, as on the leaderboard."""
        return device_of(self.record, self.ours.backend)

    @property
    def on_gpu(self) -> bool:
        """Whether the device is a GPU."""
        return self.record.environment["backends"][self.ours.backend]["device"] != "cpu"

    @property
    def doubtful(self) -> bool:
        """Whether the samples are unstable by pyperf's rules, or were disturbed by other work."""
        shaky = any(unstable(step_seconds(each), shortest=min(each.samples)) for each in (self.ours, self.theirs))
        return shaky or self.record.environment.get("timing", ALONE) != ALONE

    @property
    def conditions(self) -> tuple:
        """A key that repeated measurements share; the newest one counts."""
        record, ours = self.record, self.ours
        what = (record.what, record.documents, record.dtype, record.heads, record.head_dim, record.dropout)
        return (self.device, ours.backend, *what, ours.shape, ours.length, ours.batch, ours.label, self.theirs.label)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The result of elfatt and of the best other mechanism, in one column of one framework."""

    board: Board
    column: int
    ours: Row
    best: Row | None
    """The other mechanism with the greatest mean; None if no other was trained."""
    rivals: int

    @property
    def task(self) -> Column:
        """The column."""
        return self.board.columns[self.column]

    @property
    def among_best(self) -> bool:
        """Whether the data cannot distinguish elfatt from the best of the column."""
        return self.board.best()[self.board.rows.index(self.ours)][self.column]


def load(path: Path = PATH) -> Claims:
    """Every claim, in the file's order. UserError names a fault."""
    values = read_yaml(path, as_text=True)
    if not isinstance(values, dict):
        raise UserError(f"{path}: expected a mapping with source and claims")
    try:
        listed = dacite.from_dict(Claims, values, dacite.Config(strict=True))
    except (AttributeError, TypeError, dacite.DaciteError) as error:
        raise UserError(f"{path}: {error}") from error
    for claim in listed.claims:
        if not (claim.speed or claim.accuracy or claim.open):
            raise UserError(f"{path}: {claim.id}: expected one of speed, accuracy and open")
        if claim.accuracy and not claim.accuracy.presets:
            raise UserError(f"{path}: {claim.id}: accuracy has no presets: expected standard, quick or both")
    return listed


def factors(claim: SpeedClaim, records: Sequence[tuple[str, BenchRecord]]) -> list[Factor]:
    """The factors in bench records (with their file names) that test a claim; repeated measurements: the newest."""
    found = [each for name, record in records for each in _pairs(claim, name, record)]
    newest = {each.conditions: each for each in sorted(found, key=lambda each: each.record.started)}
    return sorted(newest.values(), key=lambda each: (not each.on_gpu, *map(str, each.conditions[:3]), each.ours.length))


def _pairs(claim: SpeedClaim, name: str, record: BenchRecord) -> Iterator[Factor]:
    if record.what not in claim.what:
        return
    cells = [each for each in record.cells if each.status == MEASURED]
    for ours in cells:
        options = defaults(ours.attn) | ours.options
        fits = all(str(options.get(key)) == value for key, value in claim.options.items())
        fits = fits and (not claim.shapes or ours.shape.startswith(tuple(claim.shapes)))
        if not (fits and _plain(ours, [OURS])):
            continue
        for theirs in cells:
            same = _sizes(ours) == _sizes(theirs)
            if same and _plain(theirs, claim.against):
                each = Factor(ratio=ratio(ours, theirs), ours=ours, theirs=theirs, record=record, file=name)
                if not claim.devices or any(word.lower() in each.device.lower() for word in claim.devices):
                    yield each


def _sizes(cell: Timing) -> tuple:
    """A key that comparable cells share."""
    return cell.backend, cell.shape, cell.length, cell.batch


def _plain(cell: Timing, names: Sequence[str]) -> bool:
    """Whether a cell is one of these mechanisms with the card's options, except those in TUNING."""
    usual = defaults(cell.attn)
    return cell.attn in names and all(
        usual.get(name) == value for name, value in cell.options.items() if name not in TUNING
    )


def standings(claim: AccuracyClaim, boards: Sequence[Board]) -> list[Standing]:
    """The results of elfatt, with the card's options, in every column of the claim's tasks."""
    by_preset = {board.preset: board for board in boards}
    return [
        each
        for preset in claim.presets
        if (board := by_preset.get(preset)) is not None
        for column, of in enumerate(board.columns)
        if of.task in claim.tasks
        for each in _standings(board, column)
    ]


def _standings(board: Board, column: int) -> Iterator[Standing]:
    for ours in board.rows:
        if ours.attn != OURS or not ours.plain or ours.cells[column] is None:
            continue
        others = [
            (estimate.mean, row)
            for row in board.rows
            if row.attn != OURS and not row.tuned and row.backend == ours.backend
            if (estimate := board.estimate(row, column))
        ]
        best = max(others, key=lambda pair: pair[0], default=(0.0, None))[1]
        yield Standing(board=board, column=column, ours=ours, best=best, rivals=len({row.attn for _, row in others}))
