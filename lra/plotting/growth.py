"""How time and memory grow with length, as pictures: the figures of bench records in, lines by length out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    """Each mechanism's growth within one record, that with most lengths and of these the newest.

    A mechanism that was timed at one length only has none. Times are as in the hour in which the baseline's own
    line was timed. That needs the baseline in both records.
    """
    series: dict[tuple[str, str, str], dict[str, list[Measured]]] = {}
    for each in sorted(speeds.every, key=lambda each: each.cell.length):
        if each.what == what:
            series.setdefault(each.mechanism, {}).setdefault(each.started, []).append(each.measured)
    chosen = [max(records.items(), key=lambda record: (len(record[1]), record[0])) for records in series.values()]
    usual = {
        (started, these[0].cell.backend): these
        for records in series.values()
        for started, these in records.items()
        if _name(these[0]) == BASELINE
    }
    shown = {these[0].cell.backend: these for _, these in chosen if _name(these[0]) == BASELINE}
    found = []
    for started, these in chosen:
        backend = these[0].cell.backend
        own = usual.get((started, backend), [])
        same = _in_the_hour_of(shown.get(backend, []), these, own)
        if len(these) > 1:
            found.append(scaling(same, shown) if same else scaling(these, {backend: own} if own else {}))
    return found


def _in_the_hour_of(shown: list[Measured], these: list[Measured], own: list[Measured]) -> list[Measured]:
    """The cells with times as in the hour of `shown`: scaled by the baseline, which both records have timed.

    Args:
        shown: The baseline's cells of that hour.
        these: A mechanism's cells of another record.
        own: The baseline's cells of that record.

    Returns:
        `these` if the hour is the same; nothing if a length of them is not in both others.
    """
    if own is shown:
        return these
    now, then = ({each.cell.length: each.example.median for each in cells} for cells in (shown, own))
    if not all(each.cell.length in now and each.cell.length in then for each in these):
        return []
    return [_scaled(each, now[each.cell.length] / then[each.cell.length]) for each in these]


def _scaled(each: Measured, factor: float) -> Measured:
    return replace(each, cell=replace(each.cell, samples=[factor * sample for sample in each.cell.samples]))


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
