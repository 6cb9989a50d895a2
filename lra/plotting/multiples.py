"""A small panel for each mechanism; the lines of all others lie faintly behind its own: learning curves and growth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D

from lra.bench.summary import BASELINE
from lra.plotting.figures import Growth, Line, Panel, Picture
from lra.plotting.style import (
    COLOURS,
    DASHES,
    FAINT,
    MARKERS,
    MUTED,
    PAPER,
    TITLES,
    WITHOUT_LEARNING,
    faintly,
    known,
    legend,
    log_log,
    panels,
    short,
)

ACROSS = 5  # panels in a row
MANY = 16  # lines behind a panel's own that would be one grey area were they thicker


def curves(picture: Picture) -> Figure:
    """Validation accuracy while training."""
    count = len(picture.panels)
    figure = Figure(figsize=_size([count]), layout="constrained")
    every = [line for panel in picture.panels for line in panel.lines]
    axes_of = _cells(figure, count, "training step", "validation accuracy %")
    for axes, panel in zip(axes_of, picture.panels, strict=True):
        faintly(axes, [(line.steps, line.mean) for line in every], lw=1 if len(every) < MANY else 0.5)
        for value, dashes in zip(panel.references.values(), WITHOUT_LEARNING, strict=False):
            axes.axhline(value, color=MUTED, lw=1, ls=dashes)
        variants = list(dict.fromkeys(line.name for line in panel.lines))
        for line in panel.lines:
            _curve(axes, line, DASHES[variants.index(line.name) % len(DASHES)])
        axes.set_title(panel.title, fontsize=9, loc="left", fontweight="bold")
        _name_variants(axes, variants)
    lines = [
        Line2D([], [], color=COLOURS[name], label=TITLES[name]) for name in known({line.backend for line in every})
    ]
    band = Line2D([], [], color=MUTED, lw=6, alpha=0.3, label="± standard deviation over seeds")
    bands = [band] if any(line.seeds > 1 for line in every) else []
    references = [
        Line2D([], [], color=MUTED, lw=1, ls=dashes, label=f"{name} {value:.1f} (test)")
        for (name, value), dashes in zip(picture.panels[0].references.items(), WITHOUT_LEARNING, strict=False)
    ]
    legend(figure, [*lines, *bands, *_others(count), *references])
    return figure


def _curve(axes: Axes, line: Line, dashes: Any) -> None:
    colour = COLOURS[line.backend]
    axes.plot(line.steps, line.mean, color=colour, lw=1.6, ls=dashes)
    if line.seeds > 1:
        low = [mean - spread for mean, spread in zip(line.mean, line.spread, strict=True)]
        high = [mean + spread for mean, spread in zip(line.mean, line.spread, strict=True)]
        axes.fill_between(line.steps, low, high, color=colour, alpha=0.22, lw=0)


def _name_variants(axes: Axes, variants: Sequence[str]) -> None:
    """A legend of the dashes, where a mechanism has several sets of options."""
    named = [
        Line2D(
            [],
            [],
            color=MUTED,
            ls=DASHES[index % len(DASHES)],
            label=short(name).partition(" ")[2] or "default options",
        )
        for index, name in enumerate(variants)
    ]
    box = {"frameon": True, "facecolor": PAPER, "edgecolor": FAINT}
    if len(named) > 1:
        axes.legend(handles=named, fontsize=6.5, loc="lower right", handlelength=2.2, **box)


def growth(picture: Picture) -> Figure:
    """Time or memory against length, or one below the other; the baseline's line is dotted in every panel."""
    groups: dict[str, list[Panel]] = {}
    for panel in picture.panels:
        groups.setdefault(panel.measure, []).append(panel)
    counts = [len(group) for group in groups.values()]
    figure = Figure(figsize=_size(counts), layout="constrained")
    parts = [figure] if len(groups) == 1 else figure.subfigures(len(groups), 1, squeeze=False).flatten()
    for part, (measure, group) in zip(parts, groups.items(), strict=True):
        _growths(part, measure, group)
    every = [line for panel in picture.panels for line in panel.growths]
    lines = [
        Line2D([], [], color=COLOURS[name], marker=MARKERS[name], ms=4, label=TITLES[name])
        for name in known({line.backend for line in every})
    ]
    dotted = Line2D([], [], color=MUTED, lw=1, ls=DASHES[2], label=BASELINE)
    ring = Line2D([], [], color=MUTED, ls="", marker="o", ms=9, mfc="none", label=f"faster than {BASELINE} from here")
    usual = [dotted] if any(line.name == BASELINE for line in every) else []
    rings = [ring] if any(line.crossing for line in every) else []
    legend(figure, [*lines, *usual, *rings, *_others(max(counts))])
    return figure


def _growths(figure: Figure | SubFigure, measure: str, group: Sequence[Panel]) -> None:
    """The panels of one measure."""
    every = [line for panel in group for line in panel.growths]
    for axes, panel in zip(_cells(figure, len(group), "tokens", measure), group, strict=True):
        faintly(axes, [(line.lengths, line.values) for line in every], lw=0.8)
        for line in every:
            if line.name == BASELINE:
                axes.plot(line.lengths, line.values, color=COLOURS[line.backend], lw=1, ls=DASHES[2])
        names = list(dict.fromkeys(line.name for line in panel.growths))
        for line in panel.growths:
            _grow(axes, line, names)
        axes.set_title(panel.title, fontsize=9, loc="left", fontweight="bold")
        axes.margins(0.06, 0.14)
        axes.legend(fontsize=7.5, loc="upper left", handlelength=2.6, borderpad=0.1, labelspacing=0.2)
        named = {length: name for line in every for length, name in line.shapes.items()}
        log_log(axes, sorted({length for line in every for length in line.lengths}), named)
        axes.tick_params(which="both", labelsize=7)
        if named:  # names need more room than numbers
            axes.tick_params(axis="x", labelsize=6)


def _grow(axes: Axes, line: Growth, names: Sequence[str]) -> None:
    """One line, with the power that it grows by; options are named where the mechanism has several lines."""
    colour = COLOURS[line.backend]
    fit = "" if line.exponent is None else f"$N^{{{line.exponent:.2f}}}$"
    variant = short(line.name).partition(" ")[2] or ("default options" if len(names) > 1 else "")
    axes.plot(
        line.lengths, line.values, color=colour, marker=MARKERS[line.backend], ms=3, lw=1.5,
        ls=DASHES[names.index(line.name) % len(DASHES)], label=" ".join(filter(None, (fit, variant))) or "one length",
    )  # fmt: skip
    if line.low:
        axes.fill_between(line.lengths, line.low, line.high, color=colour, alpha=0.22, lw=0)
    if line.crossing:
        axes.plot(*line.crossing, marker="o", ms=9, mfc="none", color=colour, ls="")
        below = {"textcoords": "offset points", "ha": "left", "va": "top", "fontsize": 7}
        axes.annotate(f"{line.crossing[0]:,.0f}", line.crossing, (3, -6), color=colour, **below)


def _cells(figure: Figure | SubFigure, count: int, x_label: str, y_label: str) -> list[Axes]:
    """The axes of small panels that share both axes, with the names of these at the edges."""
    across = min(count, ACROSS)
    cells = panels(figure, across, count, sharex=True)
    for axes in cells[-across:]:
        axes.set_xlabel(x_label)
        axes.tick_params(labelbottom=True)
    figure.supylabel(y_label, fontsize=9)
    return cells


def _size(counts: Sequence[int]) -> tuple[float, float]:
    """Inches of a figure of so many small panels, group below group."""
    across = min(max(counts), ACROSS)
    return max(2.3 * across + 0.6, 7.0), sum(2.3 * math.ceil(count / across) for count in counts) + 1.3


def _others(count: int) -> list[Line2D]:
    """The legend's entry for what lies behind each panel's own lines."""
    return [Line2D([], [], color=FAINT, lw=1.5, label="the others")] if count > 1 else []
