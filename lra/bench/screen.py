"""The output of a benchmark on the terminal: its progress and its result."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from lra.bench.plan import BenchCell
from lra.bench.record import MEASURED, Timing
from lra.bench.summary import BASELINE, Summary, parity_error
from lra.bench.table import amount, each_second, growth_rows, number, percent, quartiles, tokens
from lra.terminal.console import LINE_EVERY_SECONDS, MECHANISM, console, in_lines, new_table


class BenchScreen:
    """A live bar on a terminal, plain lines in a log."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._job = self._bar.add_task("starting …")
        self._line_at = time.monotonic()

    def starts(self, cells: int, groups: int, ceilings: int, samples: int) -> None:
        """Show the amount of work."""
        self._bar.update(self._job, total=cells * (samples + 1) + ceilings * (groups * samples + 1))
        self._bar.start()

    def prepares(self, cell: BenchCell) -> None:
        """Show that a process is being prepared."""
        self._bar.update(self._job, description=f"preparing {_where(cell)}")

    def prepared(self, timing: Timing) -> None:
        """Show that a process is prepared, or has failed."""
        self._bar.advance(self._job)
        if timing.first_seconds is None:
            self._bar.console.print(f"{_where(timing)}: {timing.status}: {timing.why}", markup=False)
            return
        error = parity_error(timing)
        parity = "" if error is None else f", equals its reference within {error:.0e}"
        first = f"first call {timing.first_seconds:.1f} s"
        self._bar.console.print(f"{_where(timing)}: ready, {first}{parity}", markup=False)

    def sampled(self, timing: Timing, number: int) -> None:
        """Show that a process took a sample in this round, counted from 0."""
        self._bar.advance(self._job)
        self._bar.update(self._job, description=f"round {number + 1}: {_where(timing)}")
        if timing.samples or timing.status == MEASURED:
            now = time.monotonic()
            if not console.is_terminal and now - self._line_at > LINE_EVERY_SECONDS:
                self._line_at = now
                console.print(f"round {number + 1}: {_where(timing)}", markup=False)

    def ends(self) -> None:
        """Remove the bar from the screen."""
        self._bar.stop()


def tables(summary: Summary) -> list[Table]:
    """Print the figures that fit a terminal: cells, ratios, growth. The written report has all of them."""
    figures = ("tokens", "ms", each_second(summary.record), "memory\nMB", "% of\nlimit")
    cells = new_table("", names=("attention",), figures=figures)
    for cell, got in zip(summary.record.cells, summary.cells, strict=True):
        start = (in_lines(f"{cell.label} · {cell.backend}", MECHANISM), tokens(cell))
        if got is None:
            cells.add_row(*start, cell.status)
            continue
        figures = (number(got.step.median * 1e3), number(got.examples_per_second), amount(cell.memory_bytes, 1e6))
        cells.add_row(*start, *figures, percent(got.share_of_limit))
    ratios = new_table("", names=("speed of",), figures=("tokens", "ratio", "quartiles"))
    for each in summary.ratios:
        row = (in_lines(f"{each.first} over {each.second}"), tokens(each), number(each.spread.median))
        ratios.add_row(*row, quartiles(each.spread))
    growth = new_table(
        "", names=("attention", "backend"), figures=("time ∝", "memory ∝"), texts=(f"faster than {BASELINE}",)
    )
    for row in growth_rows(summary):
        growth.add_row(in_lines(row[0], MECHANISM), *row[1:])
    return [made for made in (cells, ratios, growth) if made.row_count]


def _where(cell: BenchCell | Timing) -> str:
    size = f" · {cell.shape or f'{cell.length:,} tokens'} × {cell.batch}" if cell.length else ""
    return f"{cell.label} · {cell.backend}{size}"
