"""Two samples of Pathfinder images: numbers an image, tests between the samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import ndimage, stats

from tasks.pathfinder.snakes.settings import settings_for
from tasks.pathfinder.snakes.stamps import tables

CENTRE = slice(14, 18)


def per_image(images: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Numbers of each image; the discs' distance only of images in which exactly two discs are found."""
    found = disc_centres(images)
    two = np.flatnonzero(found.reshape(len(found), -1).sum(1) == 2)
    places = np.argwhere(found[two]).reshape(len(two), 2, 3)[:, :, 1:]
    flat = images.reshape(len(images), -1)
    rim = np.concatenate([images[:, :3].reshape(len(images), -1), images[:, -3:].reshape(len(images), -1)], axis=1)
    return {
        "label": labels.astype(float),
        "mean": flat.mean(1),
        "sd": flat.std(1),
        "share above 0": (flat > 0).mean(1),
        "share above 64": (flat > 64).mean(1),
        "share at 255": (flat == 255).mean(1),
        "share above 64, centre": (images[:, CENTRE, CENTRE] > 64).mean((1, 2)),
        "share above 64, rim": (rim > 64).mean(1),
        "neighbours both above 64": ((images[:, :, 1:] > 64) & (images[:, :, :-1] > 64)).mean((1, 2)),
        "turning": turning(images),
        "distance of the discs": np.hypot(*(places[:, 0] - places[:, 1]).T),
    }


def turning(images: np.ndarray) -> np.ndarray:
    """How much an image's lines bend: the spread of their direction within 7×7 pixels, mean over pixels above 64.

    The direction at a pixel is the doubled angle of the structure tensor, smoothed over one pixel; a spread of 0 is a
    straight line, 1 means that every direction occurs alike.
    """
    values = images.astype(float)
    smooth = [ndimage.gaussian_filter1d(values, 1, axis=axis) for axis in (2, 1)]
    down, right = (ndimage.gaussian_filter1d(smooth[i], 1, axis=i + 1, order=1) for i in range(2))
    doubled = ndimage.gaussian_filter((right + 1j * down) ** 2, (0, 1, 1))
    lit = values > 64
    direction = np.where(lit, doubled / np.maximum(abs(doubled), 1e-9), 0)
    lit_nearby = np.maximum(ndimage.uniform_filter(lit.astype(float), 7, axes=(1, 2)), 1e-9)
    spread = 1 - abs(ndimage.uniform_filter(direction, 7, axes=(1, 2))) / lit_nearby
    return (spread * lit).sum((1, 2)) / lit.sum((1, 2))


def disc_centres(images: np.ndarray) -> np.ndarray:
    """Pixels (n, size, size) around which every bright pixel of a disc is at least as bright as the disc would be."""
    discs = tables(settings_for(32), 1).markers
    middle = len(discs) // 2
    disc = discs[middle, middle].astype(float)
    offsets = np.argwhere(disc >= 60) - middle
    values = images.astype(float)
    padded = np.pad(values, ((0, 0), (4, 4), (4, 4)))
    size = images.shape[1]
    match = values >= 180
    for y, x in offsets:
        window = padded[:, 4 + y : 4 + y + size, 4 + x : 4 + x + size]
        match &= window >= values * disc[middle + y, middle + x] / disc[middle, middle] - 2
    return match


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """p values adjusted for their number (Holm 1979)."""
    adjusted, least = {}, 0.0
    for rank, name in enumerate(sorted(values, key=lambda name: values[name])):
        least = max(least, min(1.0, (len(values) - rank) * values[name]))
        adjusted[name] = least
    return adjusted


def compare(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> dict[str, float]:
    """p of a two-sample Kolmogorov–Smirnov test for each number (for the label: Fisher's exact test)."""
    values = {}
    for name in one:
        if name == "label":
            table = [[int(sample[name].sum()), int((1 - sample[name]).sum())] for sample in (one, other)]
            values[name] = float(np.asarray(stats.fisher_exact(table))[1])
        else:
            values[name] = same(one[name], other[name])
    return values


@dataclass(frozen=True, kw_only=True)
class Told:
    """How often a network tells originals from others, every image held out once."""

    correct: int
    count: int

    @property
    def share(self) -> float:
        return self.correct / self.count

    @property
    def interval(self) -> tuple[float, float]:
        """95 % (Wilson)."""
        found = stats.binomtest(self.correct, self.count).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)

    def __str__(self) -> str:
        return f"{self.share:.1%} ({self.interval[0]:.1%}–{self.interval[1]:.1%})"


def same(one: np.ndarray, other: np.ndarray) -> float:
    """p of a two-sample Kolmogorov–Smirnov test."""
    return float(np.asarray(stats.ks_2samp(one, other))[1])
