"""Pictures as SVG and PNG, the same bytes from the same numbers.

An SVG follows the reader's light or dark mode by a style sheet of its own; a PNG is for print and always light. Data
colours stand out from both backgrounds. Markers, not only colours, tell the frameworks apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from textwrap import fill
from typing import Any

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from lra.plotting.breakdown import breakdown
from lra.plotting.figures import KINDS, Panel, Picture, PlotPoint
from lra.plotting.multiples import curves, growth
from lra.plotting.speed import fronts, name_points
from lra.plotting.style import (
    COLOURS,
    DARK,
    MARKERS,
    MUTED,
    PAPER,
    SETTINGS,
    WITHOUT_LEARNING,
    backends,
    legend,
    literally,
    panels,
    short,
)

COLUMN = 30  # characters of a name beside a plot; longer ones take several lines


def draw(picture: Picture, kinds: Sequence[str] = KINDS) -> dict[str, bytes]:
    """The picture's files by name."""
    with style.context("default", after_reset=True), matplotlib.rc_context(SETTINGS):
        drawn = {
            "accuracy": _accuracy,
            "curves": curves,
            "front": fronts,
            "bubbles": fronts,
            "growth": growth,
            "examples": breakdown,
        }
        shown = literally(picture)
        figure = drawn[picture.kind](shown)
        figure.suptitle(f"{shown.title}\n{shown.subtitle}", x=0.01, ha="left", fontsize=10)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")  # panels have found their places, once for every file
        if picture.kind in ("front", "bubbles"):
            name_points(figure, shown)
        return {f"{picture.name}.{kind}": _file(figure, kind, picture) for kind in kinds}


def _file(figure: Figure, kind: str, picture: Picture) -> bytes:
    mark = f"sha256:{picture.digest}"
    metadata: dict[str, Any] = (
        {"Date": None, "Creator": None, "Title": picture.title, "Description": picture.caption, "Keywords": [mark]}
        if kind == "svg"
        else {"Software": None, "Title": picture.title, "Keywords": mark}
    )
    buffer = io.BytesIO()
    # By the canvas itself: savefig draws everything once more beforehand, to find a layout that is there already.
    if kind == "svg":
        FigureCanvasSVG(figure).print_svg(buffer, metadata=metadata)
    else:
        figure.dpi = 144
        FigureCanvasAgg(figure).print_png(buffer, metadata=metadata)
    return buffer.getvalue() if kind == "png" else _with_dark_mode(buffer.getvalue().decode()).encode()


def _with_dark_mode(svg: str) -> str:
    """The SVG with rules that turn its paper and inks dark where the reader's device is."""
    rules = [
        f"[style*='{name}: {light}'] {{ {name}: {dark} !important }}"
        for light, dark in DARK.items()
        for name in ("fill", "stroke")
    ]
    head, defs, rest = svg.partition("<defs>")
    sheet = f"<style>@media (prefers-color-scheme: dark) {{ {' '.join(rules)} }}</style>"
    return f"{head}{sheet}\n {defs}{rest}"


def _accuracy(picture: Picture) -> Figure:
    """A row for each mechanism with its options, a panel for each task."""
    names = list(dict.fromkeys(point.name for panel in picture.panels for point in panel.points))
    names.sort(key=lambda name: (not name.startswith("elfatt"), name))
    across = min(len(picture.panels), 3)
    down = math.ceil(len(picture.panels) / across)
    shown = [fill(short(name), COLUMN) for name in names]
    row = 0.16 + 0.14 * max(text.count("\n") + 1 for text in shown)
    size = (2.4 + 3.2 * across, 1.0 + (1.0 + row * len(names)) * down)
    figure = Figure(figsize=size, layout="constrained")
    for axes, panel in zip(panels(figure, across, len(picture.panels)), picture.panels, strict=True):
        for point in panel.points:
            height = names.index(point.name) + {"torch": -0.13, "jax": 0.13}[point.backend]
            _dot(axes, point, height)
        _references(axes, panel)
        axes.set_title(panel.title.replace("): ", ")\n"), fontsize=9, loc="left")
        axes.set_xlabel("test accuracy %")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yticks(range(len(names)), shown)
        axes.set_ylim(len(names) - 0.4, -2.0)  # above the first row stand the names of what needs no learning
        for label in axes.get_yticklabels():
            label.set_fontweight("bold" if label.get_text().startswith("elfatt") else "normal")
    used = {point.backend for panel in picture.panels for point in panel.points}
    bar = Line2D([], [], color=MUTED, lw=2.2, label="± standard deviation over seeds")
    thin = Line2D([], [], color=MUTED, lw=0.9, label="one seed: ± standard error of the test set")
    empty = Line2D([], [], color=MUTED, marker="o", ls="", mfc=PAPER, label="at chance")
    legend(figure, [*backends(used), bar, thin, empty])
    return figure


def _dot(axes: Axes, point: PlotPoint, height: float) -> None:
    colour = COLOURS[point.backend]
    axes.errorbar(point.accuracy, height, xerr=point.error, color=colour, lw=2.2 if point.seeds > 1 else 0.9)
    face = PAPER if point.at_chance else colour
    axes.plot(point.accuracy, height, MARKERS[point.backend], color=colour, mfc=face, ms=5)


def _references(axes: Axes, panel: Panel) -> None:
    """Lines at the accuracies of rules without learning. Their names stand in rows above the points."""
    for number, (name, value) in enumerate(panel.references.items()):
        axes.axvline(value, color=MUTED, lw=1, ls=WITHOUT_LEARNING[number % len(WITHOUT_LEARNING)])
        low, high = axes.get_xlim()
        aside = -1 if value > (low + high) / 2 else 1
        axes.annotate(
            f"{name} {value:.1f}", (value, number * 0.6 - 1.65), (3 * aside, 0), textcoords="offset points",
            fontsize=6.5, color=MUTED, ha="left" if aside > 0 else "right", va="center",
        )  # fmt: skip
