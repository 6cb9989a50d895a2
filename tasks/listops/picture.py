"""The picture of ListOps examples: one expression as a tree, a few as text, and the lengths and labels of a split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.base import Split
from tasks.drawing import ACCENT, FAINT, INK, frame
from tasks.listops.grammar import CLOSE, DIGIT, MIN, WORDS, decode, evaluate

COLOURS = {"[MIN": "#2f6f9f", "[MAX": "#b4532a", "[MED": "#3f7d4e", "[SM": "#7a4f9a"}
ROWS = 23  # lines of the tree that fit
BARS = 60  # about as many in the histogram of lengths
WIDTH = 66  # characters of an expression that fit on one line
NESTED = "▾"  # stands for a list that is drawn on a line of its own below


@dataclass(frozen=True, kw_only=True)
class _Line:
    depth: int
    operator: str
    arguments: str
    value: int


def draw(split: Split, max_length: int, path: Path) -> None:
    """Write the PNG with the first examples of the split. The tree is the one of a hundred that fits best."""
    figure = Figure(figsize=(13, 8), dpi=110, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.1))
    FigureCanvasAgg(figure)
    left, right = figure.subfigures(1, 2, squeeze=False)[0]
    hundred = [split.document(i) for i in range(min(100, len(split)))]
    _tree(left.subplots(), min(hundred, key=lambda tokens: abs(ROWS - np.count_nonzero(tokens == CLOSE))))
    texts, lengths, labels = right.subplots(3, 1, height_ratios=(1.15, 1, 1)).flat
    _expressions(texts, hundred[:4], split.labels)
    _lengths(lengths, np.diff(split.offsets), max_length)
    _labels(labels, split.labels)
    figure.savefig(path)


def _tree(axes: Axes, tokens: np.ndarray) -> None:
    if not (tokens == CLOSE).any() and len(tokens) > 1:
        _bare(axes, "Without closing brackets the ends of lists are unknown")
        return
    lines = sorted(_lists(tokens), key=lambda item: item[0])
    shown = [line for _, line in lines][:ROWS]
    _bare(axes, f"One of {len(tokens):,} tokens as a tree")
    for row, line in enumerate(shown):
        _write(axes, 0.045 * line.depth, row, line.operator, color=COLOURS[line.operator], weight="bold")
        _write(axes, 0.045 * line.depth + 0.075, row, line.arguments)
        _write(axes, 0.98, row, f"= {line.value}", ha="right", color=ACCENT)
    if len(lines) > ROWS:
        _write(axes, 0.0, ROWS, f"⋯ and {len(lines) - ROWS} more lists", color=FAINT)
    axes.set_ylim(ROWS + 0.6, -0.8)


def _lists(tokens: np.ndarray) -> Iterator[tuple[int, _Line]]:
    """Every list of the expression with the position at which it opens, innermost first."""
    opened: list[int] = []
    arguments: list[list[str]] = [[]]
    for position, token in enumerate(map(int, tokens)):
        if token == CLOSE:
            start, words = opened.pop(), arguments.pop()
            value = evaluate(map(int, tokens[start : position + 1]))
            operator = WORDS[int(tokens[start])]
            yield start, _Line(depth=len(opened), operator=operator, arguments=" ".join(words), value=value)
        elif token >= MIN:
            arguments[-1].append(NESTED)
            opened.append(position)
            arguments.append([])
        else:
            arguments[-1].append(str(token - DIGIT))


def _expressions(axes: Axes, documents: list[np.ndarray], values: np.ndarray) -> None:
    _bare(axes, "As the model reads them")
    for row, tokens in enumerate(documents):
        text = decode(map(int, tokens))
        head = text if len(text) <= WIDTH else f"{text[: WIDTH - 12].rsplit(' ', 1)[0]} … {text[-9:].lstrip()}"
        _write(axes, 0.0, 2 * row, head)
        _write(axes, 0.0, 2 * row + 0.85, f"= {values[row]}", color=ACCENT, weight="bold")
        _write(axes, 0.07, 2 * row + 0.85, f"{len(tokens):,} tokens", color=FAINT)
    axes.set_ylim(7.6, -0.8)


def _lengths(axes: Axes, lengths: np.ndarray, max_length: int) -> None:
    width = 1 + int(np.ptp(lengths)) // BARS  # whole tokens, so that no bar covers one length more than its neighbour
    edges = np.arange(lengths.min(), lengths.max() + width + 1, width) - 0.5
    axes.hist(lengths, bins=edges.tolist(), color=ACCENT, alpha=0.85)
    axes.axvline(float(lengths.mean()), color=INK, linewidth=1)
    axes.set_xlim(0, max_length)
    frame(
        axes,
        f"Lengths of {len(lengths):,}: mean {lengths.mean():,.0f}, median {np.median(lengths):,.0f}",
        "tokens",
        "expressions",
    )


def _labels(axes: Axes, labels: np.ndarray) -> None:
    share = np.bincount(labels, minlength=10) / len(labels)
    bars = axes.bar(np.arange(10), 100 * share, color=ACCENT, alpha=0.85)
    axes.bar_label(bars, fmt="%.1f", color=INK, fontsize=9, padding=2)
    axes.set_xticks(range(10))
    axes.margins(y=0.15)
    frame(axes, f"Values: most frequent is {share.argmax()}", "value", "% of expressions")


def _bare(axes: Axes, title: str) -> None:
    axes.set_title(title, loc="left", color=INK, fontsize=11, weight="bold")
    axes.set_xlim(0, 1)
    axes.set_axis_off()


def _write(
    axes: Axes, x: float, y: float | int, text: str, color: str = INK, weight: str = "normal", ha: str = "left"
) -> None:
    axes.text(x, y, text, color=color, weight=weight, ha=ha, va="center", family="monospace", fontsize=9)
