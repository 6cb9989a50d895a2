"""How time and memory grow with length, as pictures: the figures of bench records in, lines by length out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from lra.bench.summary import BASELINE, Measured, Scaling, Summary, scaling
from lra.bench.table import TIMED
from lra.plotting.figures import Growth, Panel, Picture
from lra.scores.overrides import option_words
from lra.scores.speeds import Speeds, What

Measure = Literal["time", "memory"]
STEPS: dict[What, str] = {"train": "training step", "infer": "forward pass"}
MEASURES: dict[Measure, str] = {"time": "time of one example (ms)", "memory": "memory of one example (MB)"}


def growth(speeds: Speeds | None) -> list[Picture]:
    """A picture for each kind of step and each measure that was timed at two lengths or more on the board's device."""
    if speeds is None:
        return []
    found = [_of_device(speeds, what, measure) for what in STEPS for measure in MEASURES]
    return [each for each in found if any(len(line.lengths) > 1 for panel in each.panels for line in panel.growths)]


def record_growth(summary: Summary) -> Picture:
    """One picture of one record: the panels of time, and below them those of memory."""
    record = summary.record
    title = f"{record.what}: {TIMED[record.what]}"
    dims = f"{record.heads} heads of {record.head_dim}, {record.dtype}, {record.device}"
    shapes = f" of {', '.join(record.shapes)}" if record.shapes else ""
    return Picture(
        kind="growth",
        name="growth",
        preset="",
        title=title,
        subtitle=dims,
        caption=f"Time and memory of one example against length{shapes}, {title} ({dims}): one panel a mechanism.",
        panels=[panel for measure in MEASURES for panel in _panels(summary.scalings, measure)],
    )


def _of_device(speeds: Speeds, what: What, measure: Measure) -> Picture:
    series: dict[tuple[str, str, str], list[Measured]] = {}
    for each in sorted(speeds.timings, key=lambda each: each.cell.length):
        if each.what == what:
            series.setdefault(each.mechanism, []).append(each.measured)
    usual = {these[0].cell.backend: these for these in series.values() if _name(these[0]) == BASELINE}
    title = f"{measure.capitalize()} of one example against length: {STEPS[what]}"
    return Picture(
        kind="growth",
        name=f"growth-{what}-{measure}",
        preset="",
        title=title,
        subtitle=speeds.device,
        caption=f"{title} of the standard model on {speeds.device}: one panel a mechanism, logarithmic axes.",
        panels=_panels([scaling(these, usual) for these in series.values()], measure),
        speed_label=f"{MEASURES[measure]}, {speeds.device}",
    )


def _panels(scalings: Sequence[Scaling], measure: Measure) -> list[Panel]:
    """A panel for each mechanism, whatever its options and backends."""
    lines = [(each.cell.attn, _line(each, measure)) for each in scalings]
    by_mechanism: dict[str, list[Growth]] = {}
    for attn, line in sorted(lines, key=lambda each: (each[1].name, each[1].backend != "torch")):
        if line.lengths:
            by_mechanism.setdefault(attn, []).append(line)
    return [
        Panel(title=Path(attn).name, measure=MEASURES[measure], growths=lines) for attn, lines in by_mechanism.items()
    ]


def _line(each: Scaling, measure: Measure) -> Growth:
    """Milliseconds or MB; of time also the place where its line meets the baseline's."""
    curve, scale = (each.time, 1e3) if measure == "time" else (each.memory, 1e-6)
    met = each.crossover if measure == "time" else None
    return Growth(
        name=_name(each.cells[0]),
        backend=each.cell.backend,
        lengths=list(curve.lengths),
        values=[scale * value for value in curve.values],
        low=[scale * value for value in curve.low],
        high=[scale * value for value in curve.high],
        exponent=curve.exponent,
        shapes=each.shapes,
        crossing=(met.length, scale * curve.at(met.length)) if met and met.kind == "at" else None,
    )


def _name(measured: Measured) -> str:
    cell = measured.cell
    return " ".join([Path(cell.attn).name, *option_words(cell.attn, cell.options)])
