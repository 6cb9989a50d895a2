"""Our results beside published ones of the same protocol, with their difference in standard errors."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import tasks
from lra.core.errors import UserError
from lra.scores.board import FOREIGN, RANKED, Board, Column, Row
from lra.scores.published import Table
from lra.scores.significance import Estimate
from lra.scores.tables import Grid, TableText, percent

PROTOCOL = "small"  # the family of the preset standard
TITLE = "Beside published rows of the same protocol"
ABOUT = """The difference is ours minus theirs, in percentage points. Its standard error combines ours with the
binomial error of the published accuracy on a test set of the same size. Papers state no spread over seeds, so the true
error is larger. The notes at each published table below say how its protocol differs."""


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One of our accuracies and a published one of the same mechanism and task, as fractions."""

    row: Row
    column: Column
    ours: Estimate
    theirs: float
    name: str
    """The mechanism's name in their table."""
    source: str
    """Their table."""

    @property
    def difference(self) -> float:
        """Ours minus theirs."""
        return self.ours.mean - self.theirs

    @property
    def error(self) -> float:
        """Standard error of the difference."""
        theirs = math.sqrt(self.theirs * (1 - self.theirs) / self.column.examples)
        return math.hypot(self.ours.error, theirs)


def beside(board: Board, tables: Sequence[Table]) -> list[Beside]:
    """Every pair: our rows without changes, on a task's whole data, and the published rows of the same mechanism."""
    if board.preset != RANKED:
        return []
    return [
        each
        for index, column in enumerate(board.columns)
        if column.whole and column.origin != FOREIGN
        for row in board.rows
        if row.plain and (ours := board.estimate(row, index))
        for each in _theirs(row, column, ours, tables)
    ]


def _theirs(row: Row, column: Column, ours: Estimate, tables: Sequence[Table]) -> Iterator[Beside]:
    title = tasks.load(column.task).title
    for table in tables:
        if table.protocol == PROTOCOL and title in table.columns:
            for name, same in table.mechanisms.items():
                if same == row.attn:
                    text = table.rows[name][table.columns.index(title)]
                    theirs = _fraction(text, f"{table.id}: row {name!r}, {title}")
                    yield Beside(row=row, column=column, ours=ours, theirs=theirs, name=name, source=table.title)


def _fraction(text: str, where: str) -> float:
    try:
        return float(text) / 100
    except ValueError:
        raise UserError(f"published.yaml: {where} is {text!r}, expected an accuracy in %, a number") from None


def grid(found: Sequence[Beside]) -> Grid:
    """The pairs as a table."""
    head = ("attention", "backend", "task", "ours %", "published %", "difference", "in standard errors", "their table")
    return Grid(title=TITLE, head=head, rows=tuple(_row(each) for each in found))


def _row(each: Beside) -> tuple[TableText, ...]:
    texts = (
        each.row.backend,
        f"{tasks.load(each.column.task).title} ({each.column.origin})",
        f"{percent(each.ours.mean)} ± {percent(each.ours.error)}",
        percent(each.theirs),
        f"{100 * each.difference:+.1f} ± {percent(each.error)}".replace("-", "−"),
        f"{each.difference / each.error:+.1f}".replace("-", "−"),
        f"{each.source.partition(',')[0]}: {each.name}",
    )
    return (TableText(text=each.row.name, style="code"), *(TableText(text=text) for text in texts))
