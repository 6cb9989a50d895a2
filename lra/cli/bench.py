"""The command `bench`: times the mechanisms, writes the record and the tables, and draws the plot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lra import backends
from lra.bench import record as bench_record
from lra.bench.plan import make_plan
from lra.bench.record import FAILED, UNEQUAL, BenchRecord
from lra.bench.runner import run_bench
from lra.bench.screen import tables
from lra.bench.summary import Summary, summarize
from lra.bench.table import TIMED, comma_separated, markdown, notes
from lra.bench.wanted import WantedOn
from lra.core.environment import RESULTS
from lra.core.files import write_atomically
from lra.core.frameworks import Device
from lra.plotting.growth import record_growth
from lra.terminal.arguments import Where
from lra.terminal.console import console, errors
from lra.terminal.flags import command_line

DESCRIPTION = (
    "Time mechanisms against length. Each one is first compared with its reference, then timed in a process of its "
    "own; the processes take turns. Writes a record, tables and a plot to results/bench."
)


@dataclass(frozen=True, kw_only=True)
class BenchFlags(WantedOn):
    """The arguments of the command."""

    results: Where = RESULTS
    """The folder of results; records, tables and plots go to its folder bench."""
    redraw: Where | None = None
    """Write the tables and the plot of this record again; nothing is timed."""


def bench(flags: BenchFlags) -> int:
    """Time the cells and show them. Returns the exit code: 1 if a cell failed, 130 if the user stopped it."""
    if flags.redraw is not None:
        show(bench_record.load(flags.redraw), flags.redraw)
        return 0
    plan = make_plan(flags, flags.device or _device(flags.backend))
    console.print(
        f"{plan.what}: {TIMED[plan.what]} · {plan.device} · {plan.dtype} · {len(plan.cells)} cells, "
        f"{plan.samples} samples each"
    )
    record, path, stopped = run_bench(plan, flags.results, command_line("bench", replace(flags, results=RESULTS)))
    show(record, path)
    if stopped:
        errors.print("stopped; the samples taken so far are kept")
        return 130
    return int(any(cell.status in (FAILED, UNEQUAL) for cell in (*record.cells, *record.ceilings)))


def _device(names: Sequence[str]) -> Device:
    """A GPU if each of these frameworks sees one, else the CPU."""
    return "gpu" if all(map(backends.gpu_seen_elsewhere, names)) else "cpu"


def show(record: BenchRecord, path: Path) -> None:
    """Print the report, and write it beside the record."""
    summary = summarize(record)
    console.print()
    for table in tables(summary):
        console.print(table)
    for note in notes(summary):
        console.print(note)
    written = [path, *write_beside(summary, path)]
    console.print("\n".join(str(each) for each in written))


def write_beside(summary: Summary, path: Path) -> list[Path]:
    """Write the report, the figures and the plot beside the record. Without a measured cell there is no plot."""
    made = {".md": markdown(summary).encode(), ".csv": comma_separated(summary).encode()}
    if summary.scalings:
        from lra.plotting import plots  # Matplotlib takes a second, which --help does without

        (made[".svg"],) = plots.draw(record_growth(summary), kinds=("svg",)).values()
    for suffix, content in made.items():
        write_atomically(content, path.with_suffix(suffix))
    return [path.with_suffix(suffix) for suffix in made]
