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
    return [each for each in found if each.panels]


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
    title = f"{measure.capitalize()} of one example against length: {STEPS[what]}"
    return Picture(
        kind="growth",
        name=f"growth-{what}-{measure}",
        preset="",
        title=title,
        subtitle=speeds.device,
        caption=f"{title} of the standard model on {speeds.device}: one panel a mechanism, logarithmic axes.",
        panels=_panels(_longest(speeds, what), measure),
        speed_label=f"{MEASURES[measure]}, {speeds.device}",
    )


def _longest(speeds: Speeds, what: What) -> list[Scaling]:
    """Each mechanism's growth within one record, that with most lengths and of these the newest; hours never mix.

    A mechanism that was timed at one length only has none. It is compared with the baseline of its own record.
    """
    series: dict[tuple[str, str, str], dict[str, list[Measured]]] = {}
    for each in sorted(speeds.every, key=lambda each: each.cell.length):
        if each.what == what:
            series.setdefault(each.mechanism, {}).setdefault(each.started, []).append(each.measured)
    usual: dict[str, dict[str, Sequence[Measured]]] = {}
    for records in series.values():
        for started, these in records.items():
            if _name(these[0]) == BASELINE:
                usual.setdefault(started, {})[these[0].cell.backend] = these
    found = []
    for records in series.values():
        started, these = max(records.items(), key=lambda record: (len(record[1]), record[0]))
        if len(these) > 1:
            found.append(scaling(these, usual.get(started, {})))
    return found


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
