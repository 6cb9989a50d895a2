"""How time and memory grow with length, as pictures: the bench records of one device in, lines by length out."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from lra.bench.record import exponent
from lra.bench.table import memory_each, seconds_each
from lra.plotting.figures import Growth, Panel, Picture
from lra.scores.overrides import option_words
from lra.scores.speeds import RowSpeed, Speeds, What

Measure = Literal["time", "memory"]
STEPS: dict[What, str] = {"train": "training step", "infer": "forward pass"}
UNITS: dict[Measure, str] = {"time": "ms", "memory": "MB"}


def growth(speeds: Speeds | None) -> list[Picture]:
    """A picture for each kind of step and each measure that was timed at two lengths or more."""
    if speeds is None:
        return []
    wanted: list[tuple[What, Measure]] = [(what, measure) for what in STEPS for measure in UNITS]
    found = [_picture(speeds, what, measure) for what, measure in wanted]
    return [each for each in found if any(len(line.lengths) > 1 for panel in each.panels for line in panel.growths)]


def _picture(speeds: Speeds, what: What, measure: Measure) -> Picture:
    """A panel for each mechanism, whatever its options and backends."""
    series: dict[tuple[str, str, str], list[RowSpeed]] = {}
    for each in sorted(speeds.timings, key=lambda each: each.cell.length):
        if each.what == what and (measure == "time" or memory_each(each.cell) > 0):
            series.setdefault(each.mechanism, []).append(each)
    lines = sorted(
        (_line(each, measure) for each in series.values()), key=lambda line: (line.name, line.backend != "torch")
    )
    by_panel: dict[str, list[Growth]] = {}
    for line in lines:
        by_panel.setdefault(line.name.split(" ")[0], []).append(line)
    title = f"{measure.capitalize()} of one example against length: {STEPS[what]}"
    return Picture(
        kind="growth",
        name=f"growth-{what}-{measure}",
        preset="",
        title=title,
        subtitle=speeds.device,
        caption=f"{title} of the standard model on {speeds.device}: one panel a mechanism, logarithmic axes.",
        panels=[Panel(title=name, growths=of_it) for name, of_it in by_panel.items()],
        speed_label=f"{measure} of one example ({UNITS[measure]}), {speeds.device}",
    )


def _line(timings: list[RowSpeed], measure: Measure) -> Growth:
    cells = [each.cell for each in timings]
    lengths = [cell.length for cell in cells]
    if measure == "time":
        values = [1e3 * seconds_each(cell) for cell in cells]
        low, high = ([1e3 * getattr(c.spread, side) / c.batch for c in cells] for side in ("low", "high"))
    else:
        values, low, high = [memory_each(cell) / 1e6 for cell in cells], [], []
    first = cells[0]
    return Growth(
        name=" ".join([Path(first.attn).name, *option_words(first.attn, first.options)]),
        backend=first.backend,
        lengths=lengths,
        values=values,
        low=low,
        high=high,
        exponent=exponent(lengths, values),
    )
