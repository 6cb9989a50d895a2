"""CIFAR-10 (Krizhevsky 2009) from any available form, in gray and with the split of Long Range Arena.

The benchmark splits the training images 90 / 10 % in the order of tensorflow-datasets, and makes them gray with
TensorFlow. Both are computed here without these packages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from tasks.base import Archive, ExampleBlock, Source, TaskError
from tasks.image.batches import BINARY, PYTHON, find_batches, from_archive
from tasks.image.forms import BATCH, CLASSES, SIDE, ColourImages, Form
from tasks.image.png import find_records, find_strips
from tasks.tfds_records import official_order

ARCHIVE = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    size=170_052_171,
    sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    dataset="cifar10",
)
PIXELS = SIDE**2
BLOCK = 1000
WANTED = f"{PYTHON.folder}, {BINARY.folder}, their .tar.gz, rgb_png or tensorflow-datasets' cifar10"


def read(source: Source, counts: Mapping[str, int], batch: int = BATCH) -> Iterator[ExampleBlock]:
    """The first counts[split] images of each split in the official order; `batch` is a sixth of all images."""
    form = find(source, batch)
    source.tell(form.origin)
    pools = {"train": Pool("train", 5 * batch), "test": Pool("test", batch)}
    for images in form.images:
        pools[images.split].add(images)
    for pool in pools.values():
        pool.require_all(form.origin)
    for split, part in split_numbers(batch).items():
        pool = pools["test" if split == "test" else "train"]
        for first in range(0, counts[split], BLOCK):
            chosen = part[first : min(first + BLOCK, counts[split])]
            yield ExampleBlock(
                split=split,
                tokens=pool.grays[chosen].reshape(-1),
                lengths=np.full(len(chosen), PIXELS, np.int64),
                labels=pool.labels[chosen],
            )


def find(source: Source, batch: int = BATCH) -> Form:
    """The first form that is available. Without any, the binary archive is downloaded."""
    raw, form = source.raw, None
    if raw is not None:
        form = find_batches(raw, PYTHON, batch) or find_batches(raw, BINARY, batch) or find_strips(raw, batch)
    if form is None:
        source.require_folder(WANTED)
    return form or find_records(raw) or from_archive(source.fetched(ARCHIVE, WANTED), BINARY, batch, origin=ARCHIVE.url)


def split_numbers(batch: int = BATCH) -> dict[str, np.ndarray]:
    """The numbers of each split's images in the archive, in the official order."""
    order = official_order("train", [str(number) for number in range(5 * batch)])
    train, validation = np.split(order, [round(len(order) * 0.9)])
    test = official_order("test", [str(number) for number in range(batch)])
    return {"train": train, "validation": validation, "test": test}


def gray(rgb: np.ndarray) -> np.ndarray:
    """Convert (..., 3) uint8 to (...) uint8 like tf.image.rgb_to_grayscale, with all float32 operations in its order.

    Another order, or a division by 255 instead of TensorFlow's product with the reciprocal, changes some pixels by one.
    """
    unit = rgb.astype(np.float32) * np.float32(1 / 255)
    red, green, blue = (unit[..., i] * np.float32(weight) for i, weight in enumerate((0.2989, 0.5870, 0.1140)))
    return ((red + green + blue) * np.float32(255.5)).astype(np.uint8)


class Pool:
    """All gray images of one of the archive's two sets, by number. They may be filled in any order."""

    def __init__(self, split: str, size: int) -> None:
        self.grays = np.zeros((size, PIXELS), np.uint8)
        self.labels = np.zeros(size, np.uint8)
        self._split = split
        self._there = np.zeros(size, bool)

    def add(self, images: ColourImages) -> None:
        """Store some images at their numbers. TaskError for images that cannot be from CIFAR-10."""
        if not 0 <= images.labels.min() <= images.labels.max() < CLASSES:
            found = f"labels {images.labels.min()} to {images.labels.max()}"
            raise TaskError(f"{images.file} has {found}, expected 0 to {CLASSES - 1}: restore it")
        if not 0 <= images.numbers.min() <= images.numbers.max() < len(self.labels):
            raise TaskError(f"{images.file} has more than {len(self.labels):,} {self._split} images: restore it")
        for first in range(0, len(images.labels), BLOCK):
            part = slice(first, first + BLOCK)
            self.grays[images.numbers[part]] = gray(images.pixels[part]).reshape(-1, PIXELS)
        self.labels[images.numbers] = images.labels
        self._there[images.numbers] = True

    def require_all(self, origin: str) -> None:
        """Raise TaskError if an image is missing."""
        if not self._there.all():
            found = f"{self._there.sum():,} of {len(self._there):,} {self._split} images"
            raise TaskError(f"{origin} has {found}: restore it")
