"""Accuracy against speed, with named points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, StrMethodFormatter
from matplotlib.transforms import BboxBase

from lra.plotting.figures import Panel, Picture, PlotPoint, pareto, speed_of
from lra.plotting.style import (
    COLOURS,
    DASHES,
    MARKERS,
    MUTED,
    PAPER,
    backends,
    legend,
    panels,
    short,
)

LARGEST_AREA = 500.0  # square points of the bubble with most memory
LEAST = 5.0  # points of accuracy that an axis spans: a difference within the error shall not look large
CROWD = 20  # points of a panel beyond which it grows
# Names are placed by ourselves: adjustText and textalloc lay them, or lines to them, across other rows' markers.
RINGS = (3.0, 9.0, 17.0, 27.0, 39.0, 53.0)  # points from a marker's edge to its name
TURNS = (0, 180, 35, -35, 145, -145, 90, -90, 60, -60, 120, -120)  # degrees, the nicest first


def fronts(picture: Picture) -> Figure:
    """Accuracy against speed; bubbles have memory for their area."""
    bubbles = picture.kind == "bubbles"
    count = len(picture.panels)
    across = min(count, 2)
    down = math.ceil(count / across)
    most = max(len(panel.points) for panel in picture.panels)
    height = 4.6 + 0.05 * max(0, most - CROWD)
    figure = Figure(figsize=(6.4 * across, height * down + 0.8), layout="constrained")
    largest = _largest(picture)
    for axes, panel in zip(panels(figure, across, count, sharey=False), picture.panels, strict=True):
        _points(axes, panel, largest)
        axes.set_xlabel(picture.speed_label.replace(" tokens, ", " tokens (log scale)\n", 1))
        axes.set_ylabel("average test accuracy %" if bubbles else "test accuracy %")
    front = Line2D([], [], color=MUTED, ls=DASHES[1], label="Pareto front")
    used = backends({point.backend for panel in picture.panels for point in panel.points})
    legend(figure, [*used, front, *_sizes(largest)], borderpad=1.5 if bubbles else 0.4)
    return figure


def name_points(figure: Figure, picture: Picture) -> None:
    """Write the names, once the panels of `fronts` have their places."""
    for axes, panel in zip(figure.axes, picture.panels, strict=True):
        _name(axes, panel.points, _largest(picture))


def _largest(picture: Picture) -> float:
    """The memory of the largest bubble; 0 where areas are all the same."""
    sizes = [point.memory or 0.0 for panel in picture.panels for point in panel.points]
    return max(sizes) if picture.kind == "bubbles" else 0.0


def _points(axes: Axes, panel: Panel, largest: float) -> None:
    axes.set_xscale("log")
    for point in panel.points:
        look = {"color": COLOURS[point.backend], "marker": MARKERS[point.backend], "edgecolors": PAPER, "lw": 0.8}
        axes.scatter(speed_of(point), point.accuracy, s=_area(point, largest), alpha=0.8, **look)
    front = pareto(panel.points)
    axes.plot([speed_of(p) for p in front], [p.accuracy for p in front], color=MUTED, lw=1, ls=DASHES[1], zorder=0.9)
    axes.set_title(panel.title.replace("): ", ")\n"), fontsize=9, loc="left")
    axes.margins(0.15, 0.12)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    low, high = axes.get_ylim()
    if high - low < LEAST:
        axes.set_ylim((low + high - LEAST) / 2, (low + high + LEAST) / 2)


def _area(point: PlotPoint, largest: float) -> float:
    """Square points that a marker covers: in proportion to memory where it and the `largest` are known."""
    return LARGEST_AREA * point.memory / largest if largest and point.memory else 30.0


def _radius(point: PlotPoint, largest: float) -> float:
    """Points from a marker's middle to its farthest corner."""
    corners = math.sqrt(2) if MARKERS[point.backend] == "D" else 1.0
    return corners * math.sqrt(_area(point, largest)) / 2


def _sizes(largest: float) -> list[Line2D]:
    """Bubbles of round sizes, for the legend."""
    sizes = [float(f"{share * largest:.1g}") for share in (0.1, 0.3, 1.0)] if largest else []
    look = {"ls": "", "marker": "o", "color": MUTED, "alpha": 0.6}
    return [
        Line2D([], [], ms=math.sqrt(LARGEST_AREA * size / largest), label=f"{size:,.0f} MB", **look) for size in sizes
    ]


@dataclass
class _Layout:
    """What names must not cover, in boxes of pixels: all `things`; nor their lines: `solid` ones, markers and names."""

    inside: BboxBase
    pixels: float
    things: list[tuple[float, ...]] = field(default_factory=list)
    solid: list[tuple[float, ...]] = field(default_factory=list)

    def best(self, center: np.ndarray, radius: float, size: tuple[float, float]) -> tuple[bool, np.ndarray]:
        """The first of the places that cover least."""
        places = _places(radius, size, self.pixels)
        own = (radius + 1.0) * math.sqrt(2) * self.pixels  # what a line covers of its own marker
        return min(places, key=lambda place: round(self._covered(center, size, own, *place), 6))

    def take(self, center: np.ndarray, size: tuple[float, float], near: bool, offset: np.ndarray) -> None:
        """Keep a name's place, and its line's, from those that follow."""
        box = _box(center + offset, size)
        self.things.append(box)
        self.solid.append(box)
        if not near:
            self.things += _along([center, center + offset], self.pixels)

    def _covered(
        self, center: np.ndarray, size: tuple[float, float], own: float, near: bool, offset: np.ndarray
    ) -> float:
        """Square pixels of things under the text, of solid ones under its line, and of the text outside its axes."""
        box = _box(center + offset, size)
        line = [] if near else _along([center + own * offset / math.hypot(*offset), center + offset], self.pixels)
        outside = size[0] * size[1] - _shared(box, [self.inside.extents])
        return _shared(box, self.things) + sum(_shared(part, self.solid) for part in line) + outside


def _name(axes: Axes, points: Sequence[PlotPoint], largest: float) -> None:
    """Write each point's name where it covers least, the most accurate first; a line leads to one that is not near."""
    pixels = axes.figure.dpi / 72
    layout = _Layout(axes.get_window_extent(), pixels)
    radii = {id(point): _radius(point, largest) for point in points}
    for point in points:
        across = 2 * radii[id(point)] * pixels
        layout.solid.append(_box(_middle(axes, point), (across, across)))
    layout.things += layout.solid
    layout.things += _along([_middle(axes, point) for point in pareto(points)], pixels)
    for point in sorted(points, key=lambda each: -each.accuracy):
        look = {"fontsize": 7, "fontweight": "bold" if point.name == "elfatt" else "normal"}
        text = axes.annotate(
            short(point.name), (speed_of(point), point.accuracy), (0, 0), textcoords="offset points",
            ha="center", va="center",
            arrowprops={"arrowstyle": "-", "color": MUTED, "lw": 0.5, "shrinkA": 0, "shrinkB": 0}, **look,
        )  # fmt: skip
        extent = text.get_window_extent()
        center, size = _middle(axes, point), (extent.width, extent.height)
        near, offset = layout.best(center, radii[id(point)], size)
        layout.take(center, size, near, offset)
        text.set_position(tuple(offset / pixels))
        if near and text.arrow_patch is not None:
            text.arrow_patch.set_visible(False)


def _middle(axes: Axes, point: PlotPoint) -> np.ndarray:
    """Where a point lies, in pixels."""
    return axes.transData.transform((speed_of(point), point.accuracy))


def _along(corners: Sequence[np.ndarray], pixels: float) -> Iterator[tuple[float, ...]]:
    """Squares of two points that cover the line through the corners."""
    half = pixels
    for start, end in pairwise(corners):
        for share in np.linspace(0, 1, math.ceil(math.dist(start, end) / (2 * half)) + 1):
            x, y = start + share * (end - start)
            yield x - half, y - half, x + half, y + half


def _places(radius: float, size: tuple[float, float], pixels: float) -> Iterator[tuple[bool, np.ndarray]]:
    """Whether a place is next to the marker, and the way in pixels from the marker's middle to the text's."""
    for ring in RINGS:
        for turn in TURNS:
            across, up = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            reach = (radius + ring) * pixels
            # The text's edge or corner that looks at the marker lies on the ring.
            aside = 0.0 if abs(across) < 0.1 else math.copysign(size[0] / 2, across)
            yield ring == RINGS[0], np.array([reach * across + aside, reach * up + up * size[1] / 2])


def _box(center: np.ndarray, size: tuple[float, float]) -> tuple[float, ...]:
    half = np.array(size) / 2
    return (*(center - half), *(center + half))


def _shared(box: tuple[float, ...], others: Sequence[Any]) -> float:
    """Square pixels that a box shares with others."""
    if not others:
        return 0.0
    left, low, right, high = box
    corners = np.array(others)
    across = np.minimum(right, corners[:, 2]) - np.maximum(left, corners[:, 0])
    up = np.minimum(high, corners[:, 3]) - np.maximum(low, corners[:, 1])
    return float((across.clip(min=0) * up.clip(min=0)).sum())
