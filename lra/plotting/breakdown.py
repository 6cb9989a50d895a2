"""Accuracy by length, depth or what else tells examples apart: a panel for each, a line for each run."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lra.plotting.figures import Picture
from lra.plotting.style import DASHES, INK, MUTED, WITHOUT_LEARNING, legend, panels


def breakdown(picture: Picture) -> Figure:
    """Each line's points are groups of examples; bars are standard errors."""
    count = len(picture.panels)
    figure = Figure(figsize=(max(4.2 * count, 6.0), 3.9), layout="constrained")
    names = list(dict.fromkeys(line.name for panel in picture.panels for line in panel.lines))
    for axes, panel in zip(panels(figure, count, count), picture.panels, strict=True):
        for value, dashes in zip(panel.references.values(), WITHOUT_LEARNING, strict=False):
            axes.axhline(value, color=MUTED, lw=1, ls=dashes)
        for line in panel.lines:
            at = names.index(line.name)
            shift = (at - (len(names) - 1) / 2) * 0.01 * (max(line.steps) - min(line.steps))  # bars stay apart
            places = [step + shift for step in line.steps]
            axes.errorbar(
                places, line.mean, line.spread, color=INK, lw=1.4, ls=DASHES[at % len(DASHES)], marker="o", ms=3
            )
        axes.set_xlabel(panel.title)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("accuracy %")
    handles = [Line2D([], [], color=INK, ls=DASHES[at % len(DASHES)], label=name) for at, name in enumerate(names)]
    references = [
        Line2D([], [], color=MUTED, lw=1, ls=dashes, label=f"{name} {value:.1f}")
        for (name, value), dashes in zip(picture.panels[0].references.items(), WITHOUT_LEARNING, strict=False)
    ]
    legend(figure, [*handles, *references])
    return figure
