"""How every plot looks: inks for light and dark paper, the frameworks' colours and markers, panels and legends."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from lra.core.markup import one_line

PAPER, INK, MUTED, FAINT = "#fefefe", "#1f2329", "#5c6470", "#d8dce2"
DARK = {PAPER: "#10141a", INK: "#e8ebf0", MUTED: "#a3abb8", FAINT: "#343b46"}
COLOURS = {"torch": "#d9541e", "jax": "#2f7fd1"}
MARKERS = {"torch": "o", "jax": "D"}
LONGEST = 80  # characters of a name
TITLES = {"torch": "PyTorch", "jax": "JAX"}
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
WITHOUT_LEARNING = ((0, (1.2, 1.2)), (0, (5, 2)))  # dashes of chance, of the best rule
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "lra",
    "svg.fonttype": "path",
    "font.size": 9,
    "font.family": "DejaVu Sans",
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}
ENTRY = 2.2  # inches of the longest entry of a legend


def panels(
    figure: Figure | SubFigure, across: int, count: int, sharex: bool = False, sharey: bool = True
) -> list[Axes]:
    """The axes of so many panels, row by row, `across` in a row."""
    cells = figure.subplots(math.ceil(count / across), across, sharex=sharex, sharey=sharey, squeeze=False)
    axes = cells.flatten().tolist()
    for each in axes[count:]:
        each.remove()
    return axes[:count]


def faintly(axes: Axes, curves: Sequence[tuple[Sequence[int], Sequence[float]]], **how: Any) -> None:
    """Many lines as one, with gaps between them: hundreds of lines a panel would take a minute to draw."""
    ends = [np.concatenate([[*part, np.nan] for part in parts]) for parts in zip(*curves, strict=True)]
    axes.plot(*ends, color=FAINT, **how)


def log_log(axes: Axes, lengths: Sequence[int], named: Mapping[int, str]) -> None:
    """Logarithmic axes with a tick at each length, above its name if it has one, and plain numbers up the side."""
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(FixedLocator(lengths))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: "\n".join(filter(None, (f"{value:,.0f}", named.get(round(value))))))
    )
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    span = np.log10(axes.get_ylim()[1] / axes.get_ylim()[0])
    within = FuncFormatter(lambda value, _: f"{float(f'{value:.3g}'):,g}") if span < 1.5 else NullFormatter()
    axes.yaxis.set_minor_formatter(within)


def known(used: set[str]) -> list[str]:
    """The frameworks in the order of every legend."""
    return [name for name in TITLES if name in used]


def backends(used: set[str]) -> list[Line2D]:
    """A legend's entries for the frameworks' markers."""
    return [
        Line2D([], [], color=COLOURS[name], marker=MARKERS[name], ls="", ms=5, label=TITLES[name])
        for name in known(used)
    ]


def legend(figure: Figure, handles: list[Line2D], **how: Any) -> None:
    """Entries below the panels, as many beside each other as the figure is wide."""
    beside = min(len(handles), 6, max(2, int(figure.get_figwidth() / ENTRY)))
    figure.legend(handles=handles, loc="outside lower left", ncols=beside, fontsize=7.5, handletextpad=1.2, **how)


def literally(value: Any) -> Any:
    """A picture, or a part of one, whose texts Matplotlib writes as they are: two dollar signs make no formula."""
    if isinstance(value, str):
        return value.replace("$", r"\$")
    if isinstance(value, list):
        return [literally(each) for each in value]
    if isinstance(value, dict):
        return {literally(key): literally(each) for key, each in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: literally(getattr(value, each.name)) for each in fields(value)})
    return value


def short(name: str) -> str:
    """A mechanism's name without what every option begins with, "softmax local-conv"; of a long one the beginning."""
    return one_line(name.replace("--attn.", ""), LONGEST)
