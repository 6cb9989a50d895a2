"""Rules without learning for images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tasks.base import Split
from tasks.image.forms import CLASSES


def references(options: Any, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, and of the class with the nearest mean image (Euclidean).

    The last two are fitted on the training split.
    """
    train, test = splits["train"], splits["test"]
    known = np.unique(train.labels)
    means = mean_images(train, options.size)[known]
    nearness = np.concatenate([images @ means.T for images, _ in _blocks(test, options.size)]) - (means**2).sum(1) / 2
    return {
        "chance": 1 / CLASSES,
        "majority": float((test.labels == np.bincount(train.labels).argmax()).mean()),
        "nearest mean image": float((test.labels == known[nearness.argmax(1)]).mean()),
    }


def mean_images(split: Split, size: int) -> np.ndarray:
    """(10, size²) the mean image of each class in gray values; zeros for a class without images."""
    sums = np.zeros((CLASSES, size**2))
    for images, labels in _blocks(split, size):
        sums += (labels == np.arange(CLASSES)[:, None]).astype(np.float64) @ images
    return sums / np.maximum(np.bincount(split.labels, minlength=CLASSES), 1)[:, None]


def _blocks(split: Split, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(n, size²) images as float64 and (n,) labels, some at a time."""
    images = split.tokens.reshape(-1, size**2)
    for first in range(0, len(split), 1000):
        part = slice(first, first + 1000)
        yield images[split.examples[part, 0]].astype(np.float64), split.labels[part]
