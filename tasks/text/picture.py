"""The picture of Text examples: some reviews as the model reads them, and the lengths of a split."""

from __future__ import annotations

from pathlib import Path
from textwrap import wrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.base import Split
from tasks.drawing import INK

COLOURS, NAMES = ("#b4532a", "#2f6f9f"), ("negative (label 0)", "positive (label 1)")
SHOWN = 3  # reviews of each label
COLUMNS, ROWS = 84, 9  # characters of a review that are shown


def draw(split: Split, max_length: int, title: str, path: Path) -> None:
    """Write the PNG: the first reviews of each label, and a histogram of lengths by label."""
    figure = Figure(figsize=(13, 9), dpi=110, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08))
    FigureCanvasAgg(figure)
    figure.suptitle(title, color=INK, weight="bold", fontsize=14)
    above, below = figure.subfigures(2, 1, height_ratios=(2.6, 1), squeeze=False)[:, 0]
    panels = above.subplots(SHOWN, 2)
    for label in (0, 1):
        chosen = np.flatnonzero(split.labels == label)[:SHOWN]
        for row in range(SHOWN):
            tokens = split.document(int(split.examples[chosen[row], 0])) if row < len(chosen) else None
            _review(panels[row, label], tokens, label)
    _lengths(below.subplots(), split, max_length)
    figure.savefig(path)


def _review(axes: Axes, tokens: np.ndarray | None, label: int) -> None:
    axes.axis("off")
    if tokens is None:
        return
    text = (tokens - 1).astype(np.uint8).tobytes().decode("utf-8", "replace")
    lines = wrap("".join(each if each.isprintable() else " " for each in text), COLUMNS)
    shown = "\n".join(lines[:ROWS]) + (" …" if len(lines) > ROWS else "")
    axes.set_title(f"{NAMES[label]}, {len(tokens):,} bytes", loc="left", color=COLOURS[label], fontsize=11)
    axes.text(0, 0.98, shown, va="top", family="monospace", fontsize=8, color=INK, parse_math=False)


def _lengths(axes: Axes, split: Split, max_length: int) -> None:
    lengths = np.diff(split.offsets)[split.examples[:, 0]]
    bins = np.linspace(0, max_length, 65).tolist()
    for label in (0, 1):
        axes.hist(lengths[split.labels == label], bins, color=COLOURS[label], alpha=0.55, label=NAMES[label])
    axes.axvline(float(np.median(lengths)), color=INK, linewidth=1, linestyle="--")
    axes.text(float(np.median(lengths)), axes.get_ylim()[1], f" median {np.median(lengths):,.0f}", va="top", color=INK)
    axes.set_title("lengths of the training reviews; the last bar holds those that were cut", loc="left", color=INK)
    axes.set_xlabel("bytes", color=INK)
    axes.set_ylabel("reviews", color=INK)
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
