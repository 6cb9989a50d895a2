"""One benchmark from the first printed line to the last: timing, record, tables, picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lra.bench import record as bench_record
from lra.bench.plan import make_plan
from lra.bench.plot import picture
from lra.bench.record import FAILED, UNEQUAL, BenchRecord
from lra.bench.runner import run_bench
from lra.bench.screen import summary
from lra.bench.table import TIMED, comma_separated, markdown, notes
from lra.core.console import console, errors
from lra.core.environment import has_gpu
from lra.core.files import write_atomically


def time_and_report(flags: Any, command: str) -> int:
    """Time what the flags ask for and show it; the exit code: 1 where a cell failed, 130 where the user stopped it."""
    plan = make_plan(flags, flags.device or ("gpu" if has_gpu() else "cpu"))
    console.print(
        f"{plan.what}: {TIMED[plan.what]} · {plan.device} · {plan.dtype} · {len(plan.cells)} cells, "
        f"{plan.samples} samples each"
    )
    record, path, stopped = run_bench(plan, flags.results, command)
    show(record, path)
    if stopped:
        errors.print("stopped; what was done is kept")
        return 130
    return int(any(cell.status in (FAILED, UNEQUAL) for cell in (*record.cells, *record.ceilings)))


def redraw(path: Path) -> int:
    """Write the tables and the picture of a record again; the exit code."""
    show(bench_record.load(path), path)
    return 0


def show(record: BenchRecord, path: Path) -> None:
    """Print the report, and write it beside the record."""
    report = markdown(record)
    console.print()
    for table in summary(record):
        console.print(table)
    for note in notes(record):
        console.print(note, markup=False)
    written = [path, *write_beside(record, path, report)]
    console.print("\n".join(str(each) for each in written), markup=False)


def write_beside(record: BenchRecord, path: Path, report: str) -> list[Path]:
    """The report, the figures and the picture, each beside the record; no picture where nothing was measured."""
    texts = {".md": report, ".csv": comma_separated(record)}
    for suffix, text in texts.items():
        write_atomically(text.encode(), path.with_suffix(suffix))
    written = [path.with_suffix(suffix) for suffix in texts]
    if record.series():
        drawn = path.with_suffix(".svg")
        beside = drawn.with_name(f".{drawn.name}.svg")
        picture(record, beside)
        beside.replace(drawn)
        written.append(drawn)
    return written
