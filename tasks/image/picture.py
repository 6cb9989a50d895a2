"""The picture of Image examples: a row of gray images for each class, beside the mean of its training images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from tasks.base import Split
from tasks.image.forms import CLASSES
from tasks.image.references import mean_images

INK = "#22303c"
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
COLUMNS = 12
GAP = 2  # white pixels between images
CONTRAST = 3  # of the means, which are all nearly the same gray


def draw(split: Split, size: int, path: Path) -> None:
    """Write the PNG: the first images of each class, and the class's mean, as in the rule of the nearest mean."""
    figure = Figure(figsize=(13, 9.4), dpi=110, facecolor="white", layout=ConstrainedLayoutEngine(w_pad=0.06))
    FigureCanvasAgg(figure)
    title = f"CIFAR-10 in gray: {size}×{size} pixels, {size**2:,} tokens of 256 values"
    figure.suptitle(title, color=INK, weight="bold", fontsize=14)
    means, examples = figure.subplots(1, 2, width_ratios=[1, COLUMNS])
    present = np.bincount(split.labels, minlength=CLASSES)
    averages = mean_images(split, size)
    middle = averages[present > 0].mean()
    averages = np.clip(middle + CONTRAST * (averages - middle), 0, 255).reshape(CLASSES, size, size)
    _show(means, [[image] if count else [] for image, count in zip(averages, present, strict=True)], size, 1)
    means.set_title(f"mean,\ncontrast × {CONTRAST}", color=INK, fontsize=11)
    means.set_yticks(
        np.arange(CLASSES) * (size + GAP) + size / 2,
        [f"{name} ({label})\n{count:,}" for label, (name, count) in enumerate(zip(NAMES, present, strict=True))],
        color=INK,
        fontsize=11,
    )
    chosen = [np.flatnonzero(split.labels == label)[:COLUMNS] for label in range(CLASSES)]
    _show(examples, [[_image(split, size, int(number)) for number in row] for row in chosen], size, COLUMNS)
    examples.set_title("first training images of each class", color=INK, fontsize=11)
    figure.savefig(path)


def _image(split: Split, size: int, number: int) -> np.ndarray:
    return np.asarray(split.document(int(split.examples[number, 0]))).reshape(size, size)


def _show(axes: Axes, rows: list[list[np.ndarray]], size: int, columns: int) -> None:
    """All images as one canvas, so that each has the same size and no axes of its own."""
    step = size + GAP
    canvas = np.full((len(rows) * step - GAP, columns * step - GAP), 255, np.uint8)
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            canvas[row * step :, column * step :][:size, :size] = image
    axes.imshow(canvas, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set(xticks=[], yticks=[])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
