"""The common result of reading any form of CIFAR-10."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIDE = 32
CLASSES = 10
BATCH = 10_000  # images in a file of the archive: five of training images and one of test images


@dataclass(frozen=True, kw_only=True)
class ColourImages:
    """Some colour images with their numbers, which are places in data_batch_1 to 5, or in test_batch."""

    file: str  # where they stood, for messages
    split: str  # "train" or "test"
    numbers: np.ndarray  # (n,) int64
    pixels: np.ndarray  # (n, 32, 32, 3) uint8
    labels: np.ndarray  # (n,) integers


@dataclass(frozen=True, kw_only=True)
class Form:
    """Data that was found: its description, and its images, which are read on demand."""

    origin: str
    images: Iterator[ColourImages]
