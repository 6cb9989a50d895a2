"""The picture of Pathfinder examples: a grid of images for each label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.base import Split
from tasks.drawing import INK

COLOURS = ("#b4532a", "#2f6f9f")
TITLES = ("discs on different curves (label 0)", "discs on one curve (label 1)")


def draw(split: Split, size: int, title: str, path: Path) -> None:
    """Write the PNG: the first images of each label, fewer and larger where they have more pixels."""
    columns = 4 if size <= 64 else 2
    rows = min(columns, -(-int(np.bincount(split.labels).max()) // columns))
    figure = Figure(
        figsize=(13, 0.9 + 6.4 * rows / columns),
        dpi=110,
        facecolor="white",
        layout=ConstrainedLayoutEngine(w_pad=0.04, h_pad=0.04),
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, weight="bold", fontsize=14)
    for label, part in enumerate(figure.subfigures(1, 2, squeeze=False)[0]):
        part.suptitle(TITLES[label], color=COLOURS[label], fontsize=12)
        chosen = np.flatnonzero(split.labels == label)[: rows * columns]
        panels = part.subplots(rows, columns, squeeze=False).flat
        for place, axes in enumerate(panels):
            _bare(axes, COLOURS[label])
            if place < len(chosen):
                document = split.document(int(split.examples[chosen[place], 0]))
                axes.imshow(np.asarray(document).reshape(size, size), cmap="gray", vmin=0, vmax=255)
            else:
                axes.set_visible(False)
    figure.savefig(path)


def _bare(axes: Axes, colour: str) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=1.5)
