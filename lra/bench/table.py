"""A benchmark's record as tables: Markdown to read, CSV to compute with. Pure functions of the record."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence

from lra.bench.record import MEASURED, BenchRecord, Spread, Timing, crossover, exponent
from lra.core.markup import in_code, in_csv, in_markdown, one_line
from lra.training.disturbance import ALONE

WHY = 4000  # characters of what went wrong, and of a command
BASELINE = "softmax"  # whom the crossover length is with

TIMED = {
    "attend": "one layer's attention alone, forward and backward",
    "train": "a whole training step of the standard model",
    "infer": "a forward pass of the standard model",
}
HEAD = (
    *("attention", "backend", "tokens", "batch", "ms", "quartiles", "examples/s", "memory MB"),
    *("GFLOP/s", "% of product", "GB/s", "% of copy", "% of limit"),
)
COLUMNS = (
    *("attention", "backend", "length", "batch", "status", "seconds_median", "seconds_low", "seconds_high"),
    *("examples_per_second", "memory_bytes", "flop", "bytes", "flop_per_second", "bytes_per_second"),
    *("share_of_product", "share_of_copy", "share_of_limit", "samples", "calls", "steps", "parity_error", "warnings"),
)


class Achieved:
    """What a measured cell achieved, beside the ceilings of its run; None where something is not known."""

    def __init__(self, record: BenchRecord, cell: Timing) -> None:
        self.spread = cell.spread
        seconds = self.spread.median
        self.examples = cell.batch / seconds
        self.flop = None if cell.flop is None else cell.flop / seconds
        self.bytes = None if cell.bytes is None else cell.bytes / seconds
        self.of_product = _over(self.flop, record.ceiling("product"))
        self.of_copy = _over(self.bytes, record.ceiling("copy"))
        shares = [share for share in (self.of_product, self.of_copy) if share is not None]
        self.of_limit = max(shares, default=None)


def markdown(record: BenchRecord) -> str:
    """The whole report: what was timed and where, cells, ratios, growth, and what went wrong."""
    parts = [_title(record), _table(HEAD, [_row(record, cell) for cell in record.cells])]
    if ratios := record.ratios():
        rows = [
            (
                in_markdown(each.first),
                in_markdown(each.second),
                f"{each.length:,}",
                number(each.spread.median),
                _range(each.spread, 1.0),
            )
            for each in ratios
        ]
        head = ("first", "second", "tokens", "first is as fast, times", "quartiles of the rounds")
        parts.append(_table(head, rows))
    if growth := growth_rows(record):
        parts.append(_table(("attention", "backend", "time ∝", "memory ∝", f"faster than {BASELINE}"), growth))
    parts += ["\n".join(f"- {_harmless(note)}" for note in notes(record)), f"Again: {in_code(record.command, WHY)}"]
    return "\n\n".join(part for part in parts if part) + "\n"


def _harmless(note: str) -> str:
    """A line with code in it as Markdown: no HTML and no link."""
    return note.replace("<", "&lt;").replace("](", r"]\(")


def comma_separated(record: BenchRecord) -> str:
    """One row a cell, figures in SI units, empty where there is none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in record.cells:
        known = [cell.label, cell.backend, cell.length, cell.batch, cell.status]
        ends = [len(cell.samples), sum(cell.calls), cell.steps, cell.parity_error, "; ".join(_warnings(cell))]
        figures: list[object] = [None] * 12
        if cell.status == MEASURED:
            got = Achieved(record, cell)
            times = [got.spread.median, got.spread.low, got.spread.high]
            shares = [got.of_product, got.of_copy, got.of_limit]
            figures = [*times, got.examples, cell.memory_bytes, cell.flop, cell.bytes, got.flop, got.bytes, *shares]
        writer.writerow(map(_csv, (*known, *figures, *ends)))
    return text.getvalue()


def _csv(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else in_csv(value) if isinstance(value, str) else value


def growth_rows(record: BenchRecord) -> list[tuple[str, ...]]:
    """Fitted exponents of one example's time and memory, and where each mechanism overtakes the baseline."""
    rows = []
    for (label, backend), cells in record.series().items():
        lengths = [cell.length for cell in cells]
        fits = [exponent(lengths, [measure(cell) for cell in cells]) for measure in (seconds_each, memory_each)]
        if len(cells) > 1:
            crossed = crossing(record, label, backend)
            rows.append(
                (in_code(label), backend, *(f"N^{fit:.2f}" if fit is not None else "—" for fit in fits), crossed)
            )
    return rows


def crossing(record: BenchRecord, label: str, backend: str) -> str:
    """From which length on a mechanism is faster than the baseline in the same framework, in words."""
    series = record.series()
    theirs = series.get((BASELINE, backend), [])
    if label == BASELINE or not theirs:
        return "—"
    ours = {cell.length: seconds_each(cell) for cell in series[label, backend]}
    found = crossover(ours, {cell.length: seconds_each(cell) for cell in theirs})
    if found is None:
        return "—"
    kind, length = found
    return {
        "at": f"from about {length:,.0f} tokens",
        "below": f"from {length:,.0f} tokens or fewer",
        "above": f"not up to {length:,.0f} tokens",
    }[kind]


def seconds_each(cell: Timing) -> float:
    """Median seconds of one example."""
    return cell.spread.median / cell.batch


def memory_each(cell: Timing) -> float:
    """Peak bytes over the examples of the batch."""
    return (cell.memory_bytes or 0) / cell.batch


def notes(record: BenchRecord) -> list[str]:
    """What a reader has to know: the ceilings, how things were counted, what failed, what is unstable."""
    product, copy = record.ceiling("product"), record.ceiling("copy")
    found = [
        "Ceilings measured in this run: "
        + (f"{product / 1e9:,.0f} GFLOP/s (large matrix product), " if product else "no matrix product, ")
        + (f"{copy / 1e9:,.1f} GB/s (large copy)." if copy else "no copy.")
        + " Operations and bytes are counted by formula (lra/bench/operations.py); the limit is the nearer ceiling.",
        "Memory: "
        + ("the allocator's peak." if record.device == "gpu" else "greatest resident size above the start.")
        + " Growth is fitted to one example's time and memory.",
    ]
    if (timing := record.environment.get("timing", ALONE)) != ALONE:
        found.append(f"These times are no timing: {one_line(timing, WHY)}.")
    if record.environment.get("busy_at_start"):  # the first records have this alone
        found.append(f"Busy machine: load {record.environment['load_at_start']:.1f} when it began.")
    if not record.complete:
        found.append("Stopped before the end: medians of the samples there are.")
    for cell in (*record.cells, *record.ceilings):
        where = f"{in_code(cell.label)} ({cell.backend}{f', {cell.length:,} tokens' if cell.length else ''})"
        if cell.status != MEASURED:
            found.append(f"{where}: {cell.status}: {one_line(cell.why.rstrip('.'), WHY)}.")
        elif warnings := _warnings(cell):
            found.append(f"{where} may be unstable: {'; '.join(warnings)}.")
    return found


def _title(record: BenchRecord) -> str:
    frameworks = ", ".join(
        in_markdown(f"{facts['framework']} on {facts['device']}") for facts in record.environment["backends"].values()
    )
    dims = f"{record.heads} heads of {record.head_dim}, {record.dtype}"
    dropout = "" if record.what != "train" else f", dropout {record.dropout}"
    machine = f"{in_markdown(record.environment['cpu'])}, {record.cores} cores"
    return (
        f"**{record.what}: {TIMED[record.what]}**, full sequences, {dims}{dropout}. {frameworks or 'no framework'}; "
        f"{machine}; {record.started}."
    )


def _row(record: BenchRecord, cell: Timing) -> tuple[str, ...]:
    start = (in_code(cell.label), cell.backend, f"{cell.length:,}", str(cell.batch))
    if cell.status != MEASURED:
        return (*start, cell.status, *["—"] * 8)
    got = Achieved(record, cell)
    return (
        *start,
        f"{number(got.spread.median * 1e3)}{' !' if _warnings(cell) else ''}",
        _range(got.spread, 1e3),
        number(got.examples),
        "—" if cell.memory_bytes is None else number(cell.memory_bytes / 1e6),
        "—" if got.flop is None else number(got.flop / 1e9),
        percent(got.of_product),
        "—" if got.bytes is None else number(got.bytes / 1e9),
        percent(got.of_copy),
        percent(got.of_limit),
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def _warnings(cell: Timing) -> list[str]:
    return cell.warnings if cell.status == MEASURED else []


def _range(spread: Spread, scale: float) -> str:
    return f"{number(spread.low * scale)}–{number(spread.high * scale)}"


def number(value: float) -> str:
    """Three significant digits, or whole numbers with commas."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def percent(share: float | None) -> str:
    """A share in percent, a dash where it is not known."""
    return "—" if share is None else f"{100 * share:.1f}"


def _over(value: float | None, ceiling: float | None) -> float | None:
    return None if value is None or ceiling is None else value / ceiling
