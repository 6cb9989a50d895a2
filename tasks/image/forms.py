"""What every form of CIFAR-10 is read into."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

SIDE = 32
CLASSES = 10
BATCH = 10_000  # images in a file of the archive: five of training images and one of test images


@dataclass(frozen=True, kw_only=True)
class ColourImages:
    """Some colour images with their numbers: an image's place in data_batch_1 to 5, or in test_batch."""

    file: str  # where they stood, for messages
    split: str  # "train" or "test"
    numbers: np.ndarray  # (n,) int64
    pixels: np.ndarray  # (n, 32, 32, 3) uint8
    labels: np.ndarray  # (n,) integers


@dataclass(frozen=True, kw_only=True)
class Form:
    """Data that was found: what to call it, and its images, read as they are asked for."""

    origin: str
    images: Iterator[ColourImages]
