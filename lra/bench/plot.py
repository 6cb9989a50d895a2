"""A benchmark's record as a picture: one example's time and memory against length, on logarithmic axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from lra.bench.record import BenchRecord, Timing, crossover, exponent
from lra.bench.table import BASELINE, TIMED, memory_each, seconds_each
from lra.core.markup import one_line

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#999999")  # Okabe and Ito
LINES = {"torch": "-", "jax": "--"}
MARKERS = "osD^vP*X"


def picture(record: BenchRecord, path: Path) -> None:
    """Write the picture, in the format that the path's suffix names; ValueError without a measured cell."""
    series = record.series()
    if not series:
        raise ValueError("nothing was measured, so there is nothing to draw")
    with matplotlib.rc_context({"svg.hashsalt": "lra", "font.size": 9.0}):
        figure = Figure(figsize=(9.6, 4.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        labels = list(dict.fromkeys(label for label, _ in series))
        for (label, backend), cells in series.items():
            style = _style(labels.index(label), backend)
            _draw(left, record, (label, backend), seconds_each, 1e3, style)
            _draw(right, record, (label, backend), memory_each, 1e-6, style)
            _mark_crossing(left, record, label, backend, cells, style["color"])
        _finish(left, "time of one example, ms", series)
        _finish(right, "peak memory of one example, MB", series)
        dims = f"{record.heads} heads of {record.head_dim}, {record.dtype}, {record.device}"
        figure.suptitle(f"{record.what}: {TIMED[record.what]} ({dims})", fontsize=10, parse_math=False)
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(path, dpi=160, metadata=metadata)


def _style(number: int, backend: str) -> dict[str, Any]:
    return {
        "color": COLOURS[number % len(COLOURS)],
        "marker": MARKERS[number // len(COLOURS) % len(MARKERS)],
        "linestyle": LINES[backend],
        "markersize": 4,
        "linewidth": 1.4,
    }


def _draw(axes: Any, record: BenchRecord, key: tuple[str, str], measure: Any, scale: float, style: dict) -> None:
    """One mechanism's points and its fitted exponent; zeros, where memory was not seen to grow, are left out."""
    cells = [cell for cell in record.series()[key] if measure(cell) > 0]
    if not cells:
        return
    lengths, values = [cell.length for cell in cells], [scale * measure(cell) for cell in cells]
    fit = exponent(lengths, values)
    frameworks = {backend for _, backend in record.series()}
    label = one_line(key[0]).replace("$", r"\$")  # Matplotlib sets what stands between two as a formula
    name = f"{label} ({key[1]})" if len(frameworks) > 1 else label
    axes.plot(lengths, values, label=name if fit is None else f"{name}  $N^{{{fit:.2f}}}$", **style)
    if measure is seconds_each:
        spreads = [cell.spread for cell in cells]
        batches = np.array([cell.batch for cell in cells])
        low, high = (scale * np.array([getattr(s, side) for s in spreads]) / batches for side in ("low", "high"))
        axes.fill_between(lengths, low, high, color=style["color"], alpha=0.2, linewidth=0)


def _mark_crossing(axes: Any, record: BenchRecord, label: str, backend: str, cells: list[Timing], colour: str) -> None:
    """A ring where the mechanism overtakes the baseline, with the length beside it."""
    theirs = {cell.length: seconds_each(cell) for cell in record.series().get((BASELINE, backend), [])}
    ours = {cell.length: seconds_each(cell) for cell in cells}
    found = crossover(ours, theirs) if label != BASELINE else None
    if found is None or found[0] != "at":
        return
    length = found[1]
    known = sorted(ours)
    height = 1e3 * np.exp(np.interp(np.log(length), np.log(known), np.log([ours[n] for n in known])))
    axes.plot([length], [height], marker="o", markersize=11, markerfacecolor="none", color=colour, linestyle="none")
    axes.annotate(f"{length:,.0f}", (length, height), (0, 9), textcoords="offset points", ha="center", color=colour)


def _finish(axes: Any, title: str, series: dict[tuple[str, str], list[Timing]]) -> None:
    log_log(axes, sorted({cell.length for cells in series.values() for cell in cells}))
    axes.set(xlabel="tokens", ylabel=title)
    axes.grid(alpha=0.3, which="both", linewidth=0.5)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8)


def log_log(axes: Any, lengths: list[int]) -> None:
    """Logarithmic axes with a tick at each length, and with plain numbers up the side."""
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_locator(ticker.FixedLocator(lengths))
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,g}"))
    span = np.log10(axes.get_ylim()[1] / axes.get_ylim()[0])
    within = ticker.FuncFormatter(lambda value, _: f"{value:,.3g}") if span < 1.5 else ticker.NullFormatter()
    axes.yaxis.set_minor_formatter(within)
