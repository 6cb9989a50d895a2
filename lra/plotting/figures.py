"""What each plot shows, as plain numbers: boards in, points and lines in per cent out. The other modules draw them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Literal, cast

from lra.core.markup import in_path
from lra.scores.board import FIVE, PRESETS, Board, Cell, Row
from lra.scores.significance import Estimate
from lra.scores.tables import best_rule, heading, labels
from lra.training.record import Record

HERE = Path(__file__)
MOST_ROWS = 150  # of a board in one plot; more are no longer read, and no image has room for thousands
KINDS = ("svg", "png")  # the files of a picture


@dataclass(frozen=True, kw_only=True)
class PlotPoint:
    """One row's accuracy in one panel."""

    name: str
    backend: str
    accuracy: float
    error: float
    """Standard deviation over seeds; for one seed the test set's standard error."""
    seeds: int
    at_chance: bool
    speed: float | None = None
    """Training samples a second."""
    memory: float | None = None
    """Peak MB in training."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row's validation accuracy while it trains: the mean over seeds, and one standard deviation around it."""

    name: str
    backend: str
    seeds: int
    steps: list[int]
    mean: list[float]
    spread: list[float]


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One example's time in ms or its share of the peak memory in MB, by length."""

    name: str
    backend: str
    lengths: list[int]  # tokens
    values: list[float]
    low: list[float]
    """Lower quartile of each value; empty where it was taken once."""
    high: list[float]
    exponent: float | None
    """p of value ∝ length^p; None for a single length."""
    shapes: dict[int, str] = field(default_factory=dict)  # the names of lengths that are the sizes of a known model
    crossing: tuple[float, float] | None = None
    """The length from which on it is faster than the baseline, and its value there; only where their lines cross."""


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes. References are accuracies without learning."""

    title: str
    measure: str = ""
    """Of growths: "what (unit)". Panels of one measure share their axes."""
    references: dict[str, float] = field(default_factory=dict)
    points: list[PlotPoint] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    growths: list[Growth] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One plot: its file's name without an ending, and everything it shows."""

    kind: Literal["accuracy", "curves", "front", "bubbles", "growth", "examples"]
    name: str
    preset: str
    """Empty where it shows no accuracy."""
    title: str
    subtitle: str
    caption: str
    """Says in a sentence what there is to see; also the alternative text."""
    panels: list[Panel]
    speed_label: str = ""
    """Of the axis that shows speed, time or memory: "what, unit" and after a comma the device."""

    @property
    def digest(self) -> str:
        """Changes with anything shown or with the code that draws it; every file of the picture carries it.

        Numbers count to nine digits: the last ones depend on the processor that computed them.
        """
        code = b"".join(path.read_bytes() for path in sorted(HERE.parent.glob("*.py")) if path != HERE)
        shown = json.loads(json.dumps(asdict(self)), parse_float=lambda digits: f"{float(digits):.9g}")
        return hashlib.sha256(json.dumps(shown).encode() + code).hexdigest()


def pictures(boards: Sequence[Board]) -> list[Picture]:
    """Every plot of today's presets that has numbers; those of speed need bench records, the bubbles an average too."""
    found = []
    for board in map(_drawable, (each for each in boards if each.preset in PRESETS)):
        found += [_accuracy(board), *_curves(board), *_fronts(board), *_bubbles(board)]
    return found


def _drawable(board: Board) -> Board:
    """The board with no more rows than a plot can name: the best of each column in turn."""
    if len(board.rows) <= MOST_ROWS:
        return board
    chosen: dict[int, Row] = {}
    ranked = [
        sorted((row for row in board.rows if row.cells[i]), key=lambda row, i=i: -cast(Cell, row.cells[i]).mean)
        for i in range(len(board.columns))
    ]
    for rank in range(MOST_ROWS):
        for rows in ranked:
            if rank < len(rows) and len(chosen) < MOST_ROWS:
                chosen[id(rows[rank])] = rows[rank]
    return replace(board, rows=tuple(row for row in board.rows if id(row) in chosen))


def pareto(points: Sequence[PlotPoint]) -> list[PlotPoint]:
    """The points that no other beats in speed without losing accuracy, or the other way round, by rising speed."""
    timed = [point for point in points if point.speed is not None]
    places = {id(point): place for place, point in enumerate(points)}
    front: list[PlotPoint] = []
    for point in sorted(timed, key=lambda point: (speed_of(point), point.accuracy), reverse=True):  # the fastest first
        last = front[-1] if front else None
        same = last is not None and (speed_of(last), last.accuracy) == (speed_of(point), point.accuracy)
        if last is None or same or point.accuracy > last.accuracy:
            front.append(point)
    return sorted(front, key=lambda point: (speed_of(point), places[id(point)]))


def speed_of(point: PlotPoint) -> float:
    """The speed of a point in a picture of speeds, where every point has one."""
    assert point.speed is not None
    return point.speed


def _accuracy(board: Board) -> Picture:
    panels = [
        Panel(title=label, references=_references(board, index), points=_points(board, index))
        for index, label in enumerate(labels(board))
    ]
    return Picture(
        kind="accuracy",
        name=f"accuracy-{board.slug}",
        preset=board.preset,
        title="Test accuracy by task",
        subtitle=heading(board),
        caption=f"Test accuracy of every mechanism by task, preset {board.preset}, with rules without learning.",
        panels=panels,
    )


def _curves(board: Board) -> list[Picture]:
    """A picture for each column, in it a panel for each mechanism."""
    found = []
    for index, (label, column) in enumerate(zip(labels(board), board.columns, strict=True)):
        named = [(Path(row.attn).name, row, row.cells[index]) for row in board.rows]
        attns = sorted({name for name, _, cell in named if cell})
        panels = [
            Panel(
                title=attn,
                references=_references(board, index),
                points=[],
                lines=[_line(row, cell) for name, row, cell in named if cell and name == attn],
            )
            for attn in attns
        ]
        same = [c for c in board.columns if c.task == column.task]
        suffix = "" if len(same) == 1 else f"-{in_path(column.data_hash[:8])}"
        found.append(
            Picture(
                kind="curves",
                name=f"curves-{board.slug}-{column.task}{suffix}",
                preset=board.preset,
                title="Validation accuracy while training",
                subtitle=f"{label}\n{heading(board)}",
                caption=f"Learning curves on {column.task}, preset {board.preset}: one panel a mechanism.",
                panels=panels,
            )
        )
    return found


def _fronts(board: Board) -> list[Picture]:
    panels = [
        Panel(title=label, points=points)
        for index, label in enumerate(labels(board))
        if (points := [point for point in _points(board, index) if point.speed is not None])
    ]
    if not panels:
        return []
    picture = Picture(
        kind="front",
        name=f"front-{board.slug}",
        preset=board.preset,
        title="Accuracy against training speed",
        subtitle=heading(board),
        caption=f"Accuracy against training speed by task, preset {board.preset}; the line joins the Pareto front.",
        panels=panels,
        speed_label=_speed_label(board),
    )
    return [picture]


def _bubbles(board: Board) -> list[Picture]:
    panels = [
        Panel(title=average.title, points=points)
        for index, average in enumerate(board.averages, start=len(board.columns))
        if (points := [point for point in _points(board, index) if point.speed is not None])
    ]
    if not panels:
        return []
    picture = Picture(
        kind="bubbles",
        name=f"bubbles-{board.slug}",
        preset=board.preset,
        title="Average accuracy against training speed",
        subtitle=heading(board),
        caption=(
            f"Average accuracy of {len(FIVE)} tasks against training speed, preset {board.preset}; a bubble's area is "
            "its peak memory, the line joins the Pareto front."
        ),
        panels=panels,
        speed_label=_speed_label(board),
    )
    return [picture]


def _points(board: Board, index: int) -> list[PlotPoint]:
    found = []
    for row in board.rows:
        estimate = board.estimate(row, index)
        if estimate is None:
            continue
        cell = row.cells[index] if index < len(board.columns) else None
        found.append(_point(row, cell, estimate))
    return found


def _point(row: Row, cell: Cell | None, estimate: Estimate) -> PlotPoint:
    spread = cell.std if cell and cell.std else estimate.error
    return PlotPoint(
        name=row.name,
        backend=row.backend,
        accuracy=100 * estimate.mean,
        error=100 * spread,
        seeds=len(cell.runs) if cell else 0,
        at_chance=cell is not None and cell.converged == 0,
        speed=row.training.samples_per_second if row.training else None,
        memory=row.training.peak_memory_bytes / 1e6 if row.training and row.training.peak_memory_bytes else None,
    )


def _line(row: Row, cell: Cell) -> Line:
    curves = [_curve(run) for run in cell.runs]
    steps = sorted(set(curves[0]).intersection(*curves[1:]))
    values = [[curve[step] for curve in curves] for step in steps]
    return Line(
        name=row.name,
        backend=row.backend,
        seeds=len(curves),
        steps=steps,
        mean=[fmean(each) for each in values],
        spread=[stdev(each) if len(each) > 1 else 0.0 for each in values],
    )


def _curve(run: Record) -> dict[int, float]:
    return {point.step: 100 * point.validation_accuracy for point in run.curve}


def _references(board: Board, index: int) -> dict[str, float]:
    column = board.columns[index]
    kept = {"chance": column.references["chance"]}
    if rule := best_rule(column):
        kept[rule] = column.references[rule]
    return {name: 100 * value for name, value in kept.items()}


def _speed_label(board: Board) -> str:
    speeds = board.speeds
    assert speeds is not None, "a point has a speed"
    return f"training samples/s at {speeds.length:,} tokens, {speeds.device}"
