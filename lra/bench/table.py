"""A benchmark's summary as tables in Markdown and CSV. Nothing is computed here."""

from __future__ import annotations

import csv
import io

from lra.bench.record import TRAINING, BenchRecord, Timing
from lra.bench.statistics import Crossover, Curve, Spread
from lra.bench.summary import BASELINE, Measured, Ratio, Summary, parity_error
from lra.core.markup import in_code, in_csv, in_markdown, one_line, pipe_table
from lra.training.disturbance import ALONE

WHY = 4000  # the most characters of a reason and of a command

TIMED = {
    "attend": "one layer's attention alone, forward and backward",
    "train": "a whole training step of the standard model",
    "infer": "a forward pass of the standard model",
    "model": "a training step of a whole encoder of images",
    "model-infer": "a forward pass of a whole encoder of images",
}
COLUMNS = (
    *("attention", "backend", "length", "shape", "batch", "status", "seconds_median", "seconds_low", "seconds_high"),
    *("examples_per_second", "memory_bytes", "flop", "bytes", "flop_per_second", "bytes_per_second"),
    *("share_of_product", "share_of_copy", "share_of_limit", "samples", "calls", "steps", "parity_error", "warnings"),
)


def markdown(summary: Summary) -> str:
    """The whole report: subject and machine, cells, ratios, growth, and failures."""
    parts = [_title(summary), _cells(summary), _ratios(summary)]
    if growth := growth_rows(summary):
        rows = [(in_code(label), *rest) for label, *rest in growth]
        parts.append(pipe_table(("attention", "backend", "time ∝", "memory ∝", f"faster than {BASELINE}"), rows))
    parts += ["\n".join(f"- {_harmless(note)}" for note in notes(summary))]
    parts.append(f"Again: {in_code(summary.record.command, WHY)}")
    return "\n\n".join(part for part in parts if part) + "\n"


def _cells(summary: Summary) -> str:
    """A row for each cell. A benchmark of shapes has a column for them."""
    record, head = summary.record, ("attention", "backend", "tokens", *_shape_column(summary), "batch")
    figures = ("ms", "quartiles", each_second(record), "memory MB", "GFLOP/s", "% of product", "GB/s", "% of copy")
    rows = [_row(cell, got, bool(record.shapes)) for cell, got in zip(record.cells, summary.cells, strict=True)]
    return pipe_table((*head, *figures, "% of limit"), rows)


def _ratios(summary: Summary) -> str:
    """A row for each pair at each length; empty without pairs."""
    rows = [
        (
            *(in_markdown(each.first), in_markdown(each.second), f"{each.length:,}"),
            *((in_markdown(each.shape),) if summary.record.shapes else ()),
            *(number(each.spread.median), quartiles(each.spread)),
        )
        for each in summary.ratios
    ]
    head = ("first", "second", "tokens", *_shape_column(summary), "first is as fast, times", "quartiles of the rounds")
    return pipe_table(head, rows) if rows else ""


def _shape_column(summary: Summary) -> tuple[str, ...]:
    return ("shape",) if summary.record.shapes else ()


def each_second(record: BenchRecord) -> str:
    """The unit of throughput."""
    return "images/s" if record.of_images else "examples/s"


def _harmless(note: str) -> str:
    """A line that contains code as Markdown, without HTML and links."""
    return note.replace("<", "&lt;").replace("](", r"]\(")


def comma_separated(summary: Summary) -> str:
    """One row for each cell, in SI units; missing figures are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell, got in zip(summary.record.cells, summary.cells, strict=True):
        known = [cell.label, cell.backend, cell.length, cell.shape, cell.batch, cell.status]
        ends = [len(cell.samples), sum(cell.calls), cell.steps, parity_error(cell)]
        warnings = "; ".join(got.warnings) if got else ""
        figures = [None] * 12 if got is None else _figures(got)
        writer.writerow(map(_csv, (*known, *figures, *ends, warnings)))
    return text.getvalue()


def _figures(got: Measured) -> list[object]:
    """The figures of a measured cell in the CSV."""
    cell, step = got.cell, got.step
    rates = [got.flop_per_second, got.bytes_per_second]
    shares = [got.share_of_product, got.share_of_copy, got.share_of_limit]
    amounts = [cell.memory_bytes, cell.flop, cell.bytes]
    return [step.median, step.low, step.high, got.examples_per_second, *amounts, *rates, *shares]


def _csv(value: object) -> object:
    return f"{value:.6g}" if isinstance(value, float) else in_csv(value) if isinstance(value, str) else value


def growth_rows(summary: Summary) -> list[tuple[str, ...]]:
    """Fitted exponents of one example's time and memory, and the crossing of each mechanism with the baseline."""
    return [
        (each.cell.label, each.cell.backend, _power(each.time), _power(each.memory), _crossed(each.crossover))
        for each in summary.scalings
        if len(each.cells) > 1
    ]


def _power(curve: Curve) -> str:
    fit = curve.exponent
    return "—" if fit is None else f"N^{fit:.2f}"


def _crossed(found: Crossover | None) -> str:
    """The length from which a mechanism is faster than the baseline in the same framework, in words."""
    if found is None:
        return "—"
    return {
        "at": f"from about {found.length:,.0f} tokens",
        "below": f"from {found.length:,.0f} tokens or fewer",
        "above": f"not up to {found.length:,.0f} tokens",
    }[found.kind]


def notes(summary: Summary) -> list[str]:
    """Notes for readers: the ceilings, the way of counting, failures, unstable samples."""
    record, product, copy = summary.record, summary.ceilings.product, summary.ceilings.copy
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
    timed = (*record.cells, *record.ceilings)
    for cell, got in zip(timed, (*summary.cells, *summary.references), strict=True):
        where = f"{in_code(cell.label)} ({cell.backend}{f', {cell.length:,} tokens' if cell.length else ''})"
        if got is None:
            found.append(f"{where}: {cell.status}: {one_line(cell.why.rstrip('.'), WHY)}.")
        elif warnings := got.warnings:
            found.append(f"{where} may be unstable: {'; '.join(warnings)}.")
    return found


def _title(summary: Summary) -> str:
    record = summary.record
    frameworks = ", ".join(
        in_markdown(f"{facts['framework']} on {facts['device']}") for facts in record.environment["backends"].values()
    )
    dims = f"{record.heads} heads of {record.head_dim}, {record.dtype}"
    dims += f", {in_markdown(record.encoder)}" if record.encoder else ""
    dropout = f", dropout {record.dropout}" if record.what in TRAINING else ""
    documents = f"documents of {record.documents}" if record.documents else "full sequences"
    documents = f"{in_markdown(', '.join(record.shapes), WHY)}" if record.shapes else documents
    machine = f"{in_markdown(record.environment['cpu'])}, {record.cores} cores"
    return (
        f"**{record.what}: {TIMED[record.what]}**, {documents}, {dims}{dropout}. {frameworks or 'no framework'}; "
        f"{machine}; {record.started}."
    )


def _row(cell: Timing, got: Measured | None, shaped: bool) -> tuple[str, ...]:
    shape = (in_markdown(cell.shape),) if shaped else ()
    start = (in_code(cell.label), cell.backend, f"{cell.length:,}", *shape, str(cell.batch))
    if got is None:
        return (*start, cell.status, *["—"] * 8)
    return (
        *start,
        f"{number(got.step.median * 1e3)}{' !' if got.warnings else ''}",
        quartiles(got.step, 1e3),
        number(got.examples_per_second),
        amount(cell.memory_bytes, 1e6),
        amount(got.flop_per_second, 1e9),
        percent(got.share_of_product),
        amount(got.bytes_per_second, 1e9),
        percent(got.share_of_copy),
        percent(got.share_of_limit),
    )


def tokens(cell: Timing | Ratio) -> str:
    """The number of tokens, with the shape."""
    return f"{cell.length:,} ({cell.shape})" if cell.shape else f"{cell.length:,}"


def quartiles(spread: Spread, scale: float = 1.0) -> str:
    """Both quartiles, scaled."""
    return f"{number(spread.low * scale)}–{number(spread.high * scale)}"


def number(value: float) -> str:
    """Three significant digits, or whole numbers with commas."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")


def amount(value: int | float | None, unit: float) -> str:
    """A figure in a unit; a dash if unknown."""
    return "—" if value is None else number(value / unit)


def percent(share: float | None) -> str:
    """A share in per cent; a dash if unknown."""
    return "—" if share is None else f"{100 * share:.1f}"
