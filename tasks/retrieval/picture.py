"""The picture of Retrieval examples: a few pairs side by side, lengths, and the popularity of documents by label."""

from __future__ import annotations

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.base import Split
from tasks.drawing import ACCENT, FAINT, INK, frame
from tasks.retrieval.documents import popularity, text

COLOURS = ("#b4532a", "#2f6f9f")
TITLES = ("no citation (label 0)", "one cites the other (label 1)")
SHOWN = (1, 0, 1)  # labels of the pairs that are shown
WIDTH, LINES = 56, 15  # characters and lines of an excerpt
BINS = 50


def draw(split: Split, max_length: int, title: str, path: Path) -> None:
    """Write the PNG. The pairs are the first of the split with the labels that are shown."""
    figure = Figure(figsize=(13, 8), dpi=110, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1))
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, weight="bold", fontsize=14)
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=(1.9, 1))[0]
    panels = left.subplots(len(SHOWN), 2, squeeze=False)
    for row, label in enumerate(SHOWN):
        earlier = SHOWN[:row].count(label)
        found = np.flatnonzero(split.labels == label)[earlier : earlier + 1]
        for tower, axes in enumerate(panels[row]):
            axes.set(xticks=[], yticks=[])
            if len(found):
                _excerpt(axes, split, int(found[0]), tower)
    lengths, popular = right.subplots(2, 1)
    _lengths(lengths, np.diff(split.offsets), max_length)
    _popularity(popular, split)
    figure.savefig(path)


def _excerpt(axes: Axes, split: Split, example: int, tower: int) -> None:
    label = int(split.labels[example])
    content = text(split, int(split.examples[example, tower]))
    printable = "".join(c if c.isprintable() else " " for c in content.decode("utf-8", "replace"))
    lines = textwrap.wrap(printable[: 2 * WIDTH * LINES], WIDTH)[:LINES]
    axes.set_title(TITLES[label] if tower == 0 else "", loc="left", color=COLOURS[label], fontsize=11, weight="bold")
    axes.set_title(f"{len(content):,} bytes", loc="right", color=FAINT, fontsize=9)
    place = {"transform": axes.transAxes, "va": "top", "in_layout": False}
    axes.text(0.02, 0.97, "\n".join(lines), **place, color=INK, family="monospace", fontsize=7.5)
    for spine in axes.spines.values():
        spine.set(color=COLOURS[label], linewidth=1.2)


def _lengths(axes: Axes, lengths: np.ndarray, max_length: int) -> None:
    axes.hist(lengths, bins=np.linspace(0, max_length, BINS + 1).tolist(), color=ACCENT, alpha=0.85)
    axes.set_yscale("log")
    cut = (lengths == max_length).mean()
    frame(axes, f"Lengths of {len(lengths):,} documents: {cut:.0%} are cut", "bytes", "documents")


def _popularity(axes: Axes, split: Split) -> None:
    """The two labels in one histogram. If they differ, popularity alone can separate them."""
    counts = popularity(split)
    powers = 2 ** np.arange(int(counts.max()).bit_length() + 1)
    for label, colour in enumerate(COLOURS):
        values = counts[split.labels == label].reshape(-1)
        axes.hist(
            values,
            bins=(powers - 0.5).tolist(),
            color=colour,
            label=TITLES[label],
            histtype="step" if label else "stepfilled",
            linewidth=2,
            alpha=0.9 if label else 0.35,
        )
    axes.set_xscale("log")
    axes.set_xticks(powers[:-1], [f"{power:,}" for power in powers[:-1]])
    axes.minorticks_off()
    axes.margins(y=0.3)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="upper left")
    frame(axes, "Popularity of the documents of a pair", "pairs that the document is in, at least", "documents")
