"""Pictures as SVG and PNG, the same bytes from the same numbers.

An SVG follows the reader's light or dark mode by a style sheet of its own; a PNG is for print and always light. Data
colours stand out from both backgrounds. Markers, not only colours, tell the frameworks apart.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogFormatter, MaxNLocator, StrMethodFormatter
from matplotlib.transforms import Bbox

from lra.pictures import KINDS, Line, Panel, Picture, Point, pareto, speed_of

PAPER, INK, MUTED, FAINT = "#fefefe", "#1f2329", "#5c6470", "#d8dce2"
DARK = {PAPER: "#10141a", INK: "#e8ebf0", MUTED: "#a3abb8", FAINT: "#343b46"}
COLOURS = {"torch": "#d9541e", "jax": "#2f7fd1"}
MARKERS = {"torch": "o", "jax": "D"}
TITLES = {"torch": "PyTorch", "jax": "JAX"}
DASHES = ("-", (0, (4, 1.5)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
LARGEST_AREA = 500.0  # square points of the bubble with most memory
WITHOUT_LEARNING = ((0, (1.2, 1.2)), (0, (5, 2)))  # chance, the best rule
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


def draw(picture: Picture) -> dict[str, bytes]:
    """The picture's files by name."""
    with style.context("default", after_reset=True), matplotlib.rc_context(SETTINGS):
        figure = {"accuracy": _accuracy, "curves": _curves, "front": _fronts, "bubbles": _fronts}[picture.kind](picture)
        figure.suptitle(f"{picture.title}\n{picture.subtitle}", x=0.01, ha="left", fontsize=10)
        return {f"{picture.name}.{kind}": _file(figure, kind, picture) for kind in KINDS}


def _file(figure: Figure, kind: str, picture: Picture) -> bytes:
    mark = f"sha256:{picture.digest}"
    metadata: dict[str, Any] = (
        {"Date": None, "Creator": None, "Title": picture.title, "Description": picture.caption, "Keywords": [mark]}
        if kind == "svg"
        else {"Software": None, "Title": picture.title, "Keywords": mark}
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=144, metadata=metadata)
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
    size = (2.4 + 3.2 * across, 1.0 + (1.0 + 0.3 * len(names)) * down)
    figure, cells = _panels(down, across, len(picture.panels), size)
    for axes, panel in zip(cells, picture.panels, strict=True):
        _references(axes, panel, vertical=True)
        for point in panel.points:
            height = names.index(point.name) + {"torch": -0.13, "jax": 0.13}[point.backend]
            _dot(axes, point, height)
        axes.set_title(panel.title.replace("): ", ")\n"), fontsize=9, loc="left")
        axes.set_xlabel("test accuracy %")
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(len(names) - 0.4, -0.6)
        for label in axes.get_yticklabels():
            label.set_fontweight("bold" if label.get_text().startswith("elfatt") else "normal")
    used = {point.backend for panel in picture.panels for point in panel.points}
    bar = Line2D([], [], color=MUTED, lw=2.2, label="± standard deviation over seeds")
    thin = Line2D([], [], color=MUTED, lw=0.9, label="one seed: ± standard error of the test set")
    empty = Line2D([], [], color=MUTED, marker="o", ls="", mfc=PAPER, label="at chance")
    _legend(figure, [*_backends(used), bar, thin, empty])
    return figure


def _dot(axes: Axes, point: Point, height: float) -> None:
    colour = COLOURS[point.backend]
    axes.errorbar(point.accuracy, height, xerr=point.error, color=colour, lw=2.2 if point.seeds > 1 else 0.9)
    face = PAPER if point.at_chance else colour
    axes.plot(point.accuracy, height, MARKERS[point.backend], color=colour, mfc=face, ms=5)


def _curves(picture: Picture) -> Figure:
    """A small panel for each mechanism; the lines of all others lie faintly behind its own."""
    count = len(picture.panels)
    across = min(count, 5)
    down = math.ceil(count / across)
    figure, cells = _panels(down, across, count, (max(2.3 * across + 0.6, 7.0), 2.3 * down + 1.3), sharex=True)
    every = [line for panel in picture.panels for line in panel.lines]
    for axes, panel in zip(cells, picture.panels, strict=True):
        for line in every:
            axes.plot(line.steps, line.mean, color=FAINT, lw=1)
        _references(axes, panel, vertical=False)
        variants = list(dict.fromkeys(line.name for line in panel.lines))
        for line in panel.lines:
            _curve(axes, line, DASHES[variants.index(line.name) % len(DASHES)])
        axes.set_title(panel.title, fontsize=9, loc="left", fontweight="bold")
        named = [
            Line2D([], [], color=MUTED, ls=DASHES[index % len(DASHES)], label=name.partition(" ")[2] or "as it is")
            for index, name in enumerate(variants)
        ]
        if len(named) > 1:
            axes.legend(
                handles=named,
                fontsize=6.5,
                loc="lower right",
                handlelength=2.2,
                frameon=True,
                facecolor=PAPER,
                edgecolor=FAINT,
            )
    for axes in cells[-across:]:
        axes.set_xlabel("training step")
        axes.tick_params(labelbottom=True)
    figure.supylabel("validation accuracy %", fontsize=9)
    lines = [
        Line2D([], [], color=COLOURS[name], label=TITLES[name]) for name in _known({line.backend for line in every})
    ]
    band = Line2D([], [], color=MUTED, lw=6, alpha=0.3, label="± standard deviation over seeds")
    bands = [band] if any(line.seeds > 1 for line in every) else []
    faint = Line2D([], [], color=FAINT, lw=1.5, label="the others")
    references = [
        Line2D([], [], color=MUTED, lw=1, ls=dashes, label=f"{name} {value:.1f} (test)")
        for (name, value), dashes in zip(picture.panels[0].references.items(), WITHOUT_LEARNING, strict=False)
    ]
    _legend(figure, [*lines, *bands, *([faint] if count > 1 else []), *references])
    return figure


def _curve(axes: Axes, line: Line, dashes: Any) -> None:
    colour = COLOURS[line.backend]
    axes.plot(line.steps, line.mean, color=colour, lw=1.6, ls=dashes)
    if line.seeds > 1:
        low = [mean - spread for mean, spread in zip(line.mean, line.spread, strict=True)]
        high = [mean + spread for mean, spread in zip(line.mean, line.spread, strict=True)]
        axes.fill_between(line.steps, low, high, color=colour, alpha=0.22, lw=0)


def _fronts(picture: Picture) -> Figure:
    """Accuracy against speed; bubbles have memory for their area."""
    bubbles = picture.kind == "bubbles"
    count = len(picture.panels)
    across = min(count, 2)
    down = math.ceil(count / across)
    figure, cells = _panels(down, across, count, (6.4 * across, 4.6 * down + 0.8), sharey=False)
    largest = max(point.memory or 0 for panel in picture.panels for point in panel.points) if bubbles else 0.0
    for axes, panel in zip(cells, picture.panels, strict=True):
        axes.set_xscale("log")
        for point in panel.points:
            look = {"color": COLOURS[point.backend], "marker": MARKERS[point.backend], "edgecolors": PAPER, "lw": 0.8}
            axes.scatter(speed_of(point), point.accuracy, s=_area(point, largest), alpha=0.8, **look)
        front = pareto(panel.points)
        axes.plot(
            [speed_of(p) for p in front], [p.accuracy for p in front], color=MUTED, lw=1, ls=DASHES[1], zorder=0.9
        )
        axes.set_title(panel.title.replace("): ", ")\n"), fontsize=9, loc="left")
        axes.set_xlabel(picture.speed_label.replace(" tokens, ", " tokens (log scale)\n", 1))
        axes.set_ylabel("average test accuracy %" if bubbles else "test accuracy %")
        axes.margins(0.15, 0.12)
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1, 0.4)))
    backends = _backends({point.backend for panel in picture.panels for point in panel.points})
    front = Line2D([], [], color=MUTED, ls=DASHES[1], label="Pareto front")
    _legend(figure, [*backends, front, *_sizes(largest)])
    figure.draw_without_rendering()
    for axes, panel in zip(cells, picture.panels, strict=True):
        _name(axes, panel.points, largest)
    return figure


def _area(point: Point, largest: float) -> float:
    """Square points that a marker covers: in proportion to memory where it and the `largest` are known."""
    return LARGEST_AREA * point.memory / largest if largest and point.memory else 30.0


def _sizes(largest: float) -> list[Line2D]:
    """Bubbles of round sizes, for the legend."""
    sizes = [float(f"{share * largest:.1g}") for share in (0.1, 0.3, 1.0)] if largest else []
    look = {"ls": "", "marker": "o", "color": MUTED, "alpha": 0.6}
    return [
        Line2D([], [], ms=math.sqrt(LARGEST_AREA * size / largest), label=f"{size:,.0f} MB", **look) for size in sizes
    ]


def _name(axes: Axes, points: Sequence[Point], largest: float) -> None:
    """Write each point's name where it covers no bubble and no other name, the most accurate first."""
    pixels = axes.figure.dpi / 72
    radii = {id(point): math.sqrt(_area(point, largest)) / 2 for point in points}
    taken = []
    for point in points:
        x, y = axes.transData.transform((speed_of(point), point.accuracy))
        reach = radii[id(point)] * pixels
        taken.append(Bbox.from_extents(x - reach, y - reach, x + reach, y + reach))
    for point in sorted(points, key=lambda each: -each.accuracy):
        weight = "bold" if point.name == "elfatt" else "normal"
        aside = radii[id(point)] + 3
        places = [(side * aside, rise) for rise in (0, 9, -9, 18, -18, 27, -27, 36, -36) for side in (1, -1)]
        for x, y in places:
            text = axes.annotate(
                point.name, (speed_of(point), point.accuracy), (x, y), textcoords="offset points",
                fontsize=7, va="center", ha="left" if x > 0 else "right", fontweight=weight,
            )  # fmt: skip
            box = text.get_window_extent()
            if (x, y) == places[-1] or not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _references(axes: Axes, panel: Panel, vertical: bool) -> None:
    """Lines at what needs no learning."""
    for (name, value), dashes in zip(panel.references.items(), WITHOUT_LEARNING, strict=False):
        line = axes.axvline if vertical else axes.axhline
        line(value, color=MUTED, lw=1, ls=dashes)
        if vertical:
            axes.text(
                value, 0.995, f"{name} {value:.1f} ", transform=axes.get_xaxis_transform(), fontsize=6.5,
                color=MUTED, ha="right", va="top", rotation=90,
            )  # fmt: skip


def _panels(
    down: int, across: int, count: int, size: tuple[float, float], sharex: bool = False, sharey: bool = True
) -> tuple[Figure, list[Axes]]:
    """A figure of `size` inches and its first `count` axes, row by row."""
    figure = Figure(figsize=size, layout="constrained")
    cells = figure.subplots(down, across, sharex=sharex, sharey=sharey, squeeze=False).flatten().tolist()
    for axes in cells[count:]:
        axes.remove()
    return figure, cells[:count]


def _known(backends: set[str]) -> list[str]:
    return [name for name in TITLES if name in backends]


def _backends(used: set[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=COLOURS[name], marker=MARKERS[name], ls="", ms=5, label=TITLES[name])
        for name in _known(used)
    ]


def _legend(figure: Figure, handles: list[Line2D]) -> None:
    figure.legend(
        handles=handles, loc="outside lower left", ncols=min(len(handles), 6), fontsize=7.5, handletextpad=1.2
    )
