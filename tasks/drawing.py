"""Colours and frames that the pictures of tasks share."""

from __future__ import annotations

from matplotlib.axes import Axes

INK, ACCENT, FAINT, LINE = "#22303c", "#2f6f9f", "#8a97a3", "#c9d1d8"


def frame(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and names of a plot, with no more lines than it needs."""
    axes.set_title(title, loc="left", color=INK, fontsize=11, weight="bold")
    axes.set_xlabel(x, color=FAINT)
    axes.set_ylabel(y, color=FAINT)
    axes.tick_params(colors=FAINT, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
