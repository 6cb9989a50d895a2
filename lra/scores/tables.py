"""A board as a table in Markdown or LaTeX. Accuracies become per cent here."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lra.core.markup import in_code, in_latex, in_markdown, one_line, pipe_table
from lra.scores.board import LEARNING, RANKED, RECIPE, Board, Cell, Column, Row
from lra.scores.significance import Estimate
from lra.scores.speeds import RowSpeed
from lra.training.record import Record

NONE = "–"
HEADINGS = {
    RANKED: "Preset standard: 2 layers, 64 wide, 2 heads",
    RECIPE: "Preset s4: S4's recipe for each task, not reproduced yet",
    LEARNING: "Preset quick – does it learn: undertrained, not a ranking",
}
SUPERSEDED = "Preset {0} – older values of preset {1}; runs with current values are above"
SPEEDS = 3  # columns of time and memory, the last ones
NO_RULE = ("chance", "majority")
REFERENCES = (*NO_RULE, "best trivial rule")


@dataclass(frozen=True, kw_only=True)
class TableText:
    """One cell. Its text is plain; the output format escapes it."""

    text: str
    bold: bool = False
    style: Literal["plain", "code", "emphasis"] = "plain"


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A table; a rule separates its first `lead` rows from the others."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[TableText, ...], ...]
    lead: int = 0


def labels(board: Board) -> list[str]:
    """A unique name for each column: task, version, origin, data and, if these are equal, the data's hash."""
    plain = [f"{c.task} v{c.version} ({c.origin}): {c.data}" for c in board.columns]
    return [
        name if plain.count(name) == 1 else f"{name}, data {column.data_hash[:8]}"
        for name, column in zip(plain, board.columns, strict=True)
    ]


def grid(
    board: Board,
    rows: Sequence[tuple[str, Row | None]] | None = None,
    relative_to: str | None = None,
    speeds: bool = True,
) -> Grid:
    """The table of a board, or of some rows with given names; a row of None was not run.

    A cell is bold if the data cannot distinguish it from the best of its column in the whole board. Without `speeds`
    the columns of time and memory are left out.
    """
    chosen = rows if rows is not None else [(row.name, row) for row in board.rows]
    style = "plain" if rows is not None else "code"
    bold = dict(zip(map(id, board.rows), board.best(), strict=True))
    bases = {row.backend: row for row in board.rows if relative_to and row.name == relative_to}
    body = []
    for name, row in chosen:
        base = bases.get(row.backend) if row else None
        body.append((TableText(text=name, style=style), *_cells(board, row, bold, base, relative_to is not None)))
    lead = _references(board)
    title = heading(board) + (f"; relative to {relative_to}" if relative_to else "")
    width = len(_head(board)) - (0 if speeds else SPEEDS)
    return Grid(
        title=title, head=_head(board)[:width], rows=tuple(row[:width] for row in (*lead, *body)), lead=len(lead)
    )


def heading(board: Board) -> str:
    """The title of a board's table and plots."""
    return HEADINGS[board.kind] if board.kind == board.preset else SUPERSEDED.format(board.preset, board.kind)


def _head(board: Board) -> tuple[str, ...]:
    length = f" at {board.speeds.length:,} tokens" if board.speeds else ""
    return (
        "attention",
        "backend",
        *labels(board),
        *(average.title for average in board.averages),
        "converged",
        "parameters",
        f"training samples/s{length}",
        f"inference samples/s{length}",
        f"peak training memory MB{length}",
    )


def _references(board: Board) -> list[tuple[TableText, ...]]:
    """Rows without learning, on each column's test set: chance, the most frequent class, the best trivial rule."""
    rest = [TableText(text="")] * (len(board.averages) + 5)
    rows = []
    for name in REFERENCES:
        cells = [TableText(text=_reference(column, name)) for column in board.columns]
        rows.append((TableText(text=name, style="emphasis"), TableText(text=""), *cells, *rest))
    return rows


def _reference(column: Column, name: str) -> str:
    if name in column.references:
        return percent(column.references[name])
    rule = best_rule(column)
    return f"{percent(column.references[rule])} ({rule})" if rule else NONE


def best_rule(column: Column) -> str | None:
    """The best rule without learning on a column's test set, except chance and majority."""
    rules = {name: value for name, value in column.references.items() if name not in NO_RULE}
    return max(rules, key=lambda name: rules[name]) if rules else None


def _cells(
    board: Board, row: Row | None, bold: dict[int, list[bool]], base: Row | None, relative: bool
) -> list[TableText]:
    width = len(board.columns) + len(board.averages)
    if row is None:
        return [TableText(text=NONE)] * (width + 6)
    texts = [TableText(text=row.backend)]
    for index in range(width):
        cell = row.cells[index] if index < len(board.columns) else None
        estimate = board.estimate(row, index)
        against = board.estimate(base, index) if base else None
        text = _difference(estimate, against, row is base) if relative else score(cell, estimate)
        texts.append(TableText(text=text, bold=bold[id(row)][index]))
    left = sum(cell.converged for cell in row.cells if cell)
    memory = row.training.peak_memory_bytes if row.training else None
    memory_base = base.training.peak_memory_bytes if base and base.training else None
    figures = (
        f"{left} of {len(row.runs)}",
        parameters(row),
        _figure(rate(row.training), rate(base.training) if base else None, relative),
        _figure(rate(row.inference), rate(base.inference) if base else None, relative),
        _figure(memory and memory / 1e6, memory_base and memory_base / 1e6, relative),
    )
    return [*texts, *(TableText(text=each) for each in figures)]


def score(cell: Cell | None, estimate: Estimate | None) -> str:
    """The score, such as "72.9 ± 3.0 (3)"; † marks the test set's error. If not all runs left chance, it says so."""
    if estimate is None:
        return NONE
    if cell is None:
        return f"{percent(estimate.mean)} ± {percent(estimate.error)}"
    error = f"{percent(estimate.error)}†" if math.isinf(estimate.freedom) else percent(cell.std or 0.0)
    count = len(cell.runs)
    left = "" if cell.converged == count else f", converged {cell.converged} of {count}"
    return f"{percent(estimate.mean)} ± {error} ({count}){left}"


def _difference(one: Estimate | None, other: Estimate | None, same: bool) -> str:
    """The difference of two means in percentage points, with its standard error."""
    if one is None or other is None:
        return NONE
    if same:
        return "0"
    points = f"{100 * (one.mean - other.mean):+.1f}".replace("-", "−")
    return f"{points} ± {percent(math.hypot(one.error, other.error))}"


def parameters(row: Row) -> str:
    """The number of learned parameters, or its range if tasks differ."""
    counts = sorted({run.parameters for run in row.runs})
    return f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"


def rate(timing: RowSpeed | None) -> float | None:
    """Samples per second, if it was timed."""
    return timing.samples_per_second if timing else None


def _figure(value: float | None, base: float | None, relative: bool) -> str:
    if value is None or (relative and not base):
        return NONE
    return f"{value / base:.2f}×" if relative and base else f"{value:,.1f}"


def percent(fraction: float) -> str:
    """A fraction in per cent, with one digit after the point."""
    return f"{100 * fraction:.1f}"


def origins(runs: Sequence[Record]) -> dict[str, list[str]]:
    """Devices, versions and commits behind some runs. A + marks a commit with uncommitted changes."""
    devices = {" ".join(filter(None, map(run.environment.get, ("device", "cpu")))) for run in runs}
    commits = {f"{(run.git['commit'] or 'unknown')[:7]}{'' if run.git['clean'] else '+'}" for run in runs}
    return {
        "device": sorted(devices),
        "versions": sorted({run.environment["framework"] for run in runs}),
        "commit": sorted(commits),
    }


def markdown(table: Grid) -> str:
    """The grid as a Markdown table."""
    head = [in_markdown(name).replace("): ", ")<br>") for name in table.head]
    return pipe_table(head, ([_marked(cell) for cell in row] for row in table.rows), left=2)


def _marked(cell: TableText) -> str:
    text = in_code(cell.text) if cell.style == "code" else in_markdown(cell.text)
    return f"**{text}**" if cell.bold else f"*{text}*" if cell.style == "emphasis" else text


def latex(table: Grid) -> str:
    """The grid as a LaTeX table for the package booktabs."""
    lines = [f"% {one_line(table.title)}", rf"\begin{{tabular}}{{ll{'r' * (len(table.head) - 2)}}}", r"\toprule"]
    lines += [rf"{' & '.join(map(in_latex, table.head))} \\", r"\midrule"]
    for index, row in enumerate(table.rows):
        cells = [rf"\textbf{{{in_latex(cell.text)}}}" if cell.bold else in_latex(cell.text) for cell in row]
        lines += [r"\midrule"] if index == table.lead and index else []
        lines.append(rf"{' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
