"""Image: what does a photograph of 32×32 pixels show? Its pixels, made gray, are the tokens, row by row.

CIFAR-10 (Krizhevsky 2009) in the form of Tay et al. 2020 (arXiv 2011.04006), with their split. Black is a token like
any other; nothing is padding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.base import Block, Shape, Source, Split, Task, TaskError
from tasks.image_forms import CLASSES, SIDE

PIXELS = SIDE**2
MOST = {"train": 45_000, "validation": 5_000, "test": 10_000}


@dataclass(frozen=True, kw_only=True)
class Image:
    """Which CIFAR-10 data is meant."""

    train: int = MOST["train"]
    """Training images; a smaller number is the beginning of a larger one."""
    validation: int = MOST["validation"]
    """Validation images."""
    test: int = MOST["test"]
    """Test images."""

    def __post_init__(self) -> None:
        for split, most in MOST.items():
            if not 0 <= getattr(self, split) <= most:
                raise TaskError(f"Image has 0 to {most:,} {split} images, {getattr(self, split):,} were asked for")


def shape(options: Image) -> Shape:
    """Every pixel is a token, none is padding."""
    return Shape(max_length=PIXELS, grid=(SIDE, SIDE))


def describe(options: Image) -> str:
    """Size and colour."""
    return f"{SIDE}×{SIDE}, gray"


def build(options: Image, source: Source) -> Iterator[Block]:
    """Every image of every split, the same whatever form of the data they come from."""
    from tasks.image_official import read

    yield from read(source, TASK.counts(options))


def references(options: Image, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the commonest label, and of the class whose mean image is nearest (Euclidean).

    The last two are fitted on train.
    """
    train, test = splits["train"], splits["test"]
    known = np.unique(train.labels)
    means = mean_images(train)[known]
    nearness = np.concatenate([images @ means.T for images, _ in _blocks(test)]) - (means**2).sum(1) / 2
    return {
        "chance": 1 / CLASSES,
        "majority": float((test.labels == np.bincount(train.labels).argmax()).mean()),
        "nearest mean image": float((test.labels == known[nearness.argmax(1)]).mean()),
    }


def mean_images(split: Split) -> np.ndarray:
    """(10, 1024) the mean image of each class in gray values; zeros for a class that is not there."""
    sums = np.zeros((CLASSES, PIXELS))
    for images, labels in _blocks(split):
        sums += (labels == np.arange(CLASSES)[:, None]).astype(np.float64) @ images
    return sums / np.maximum(np.bincount(split.labels, minlength=CLASSES), 1)[:, None]


def _blocks(split: Split) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(n, 1024) images as float64 and (n,) labels, some at a time."""
    images = split.tokens.reshape(-1, PIXELS)
    for first in range(0, len(split), 1000):
        part = slice(first, first + 1000)
        yield images[split.examples[part, 0]].astype(np.float64), split.labels[part]


def picture(options: Image, splits: Mapping[str, Split], path: Path) -> None:
    """The first training images of each class and their mean."""
    from tasks.image_picture import draw

    draw(splits["train"], path)


TASK = Task(
    name="image",
    title="Image",
    version=1,
    classes=CLASSES,
    vocab=256,
    options=Image,
    validation=lambda options: "the official last tenth of the training images in the order of tensorflow-datasets",
    shape=shape,
    describe=describe,
    build=build,
    references=references,
    picture=picture,
)
