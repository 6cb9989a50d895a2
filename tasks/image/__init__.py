"""Image: classify photographs of 32×32 pixels. The tokens are the gray pixels, row by row.

CIFAR-10 (Krizhevsky 2009) in the form of Tay et al. 2020 (arXiv 2011.04006), with their split. Black is a token like
any other, and nothing is padding. There is also a small form of 16×16 pixels, with a quarter of the tokens.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from tasks.base import ExampleBlock, Shape, Source, Split, Task
from tasks.image.forms import CLASSES, SIDE
from tasks.image.references import references

MOST = {"train": 45_000, "validation": 5_000, "test": 10_000}


@dataclass(frozen=True, kw_only=True)
class Image:
    """Options of the CIFAR-10 data."""

    size: Literal[32, 16] = 32
    """Pixels along a side: 32 as in the benchmark; 16 takes means of 2×2 pixels."""
    train: Annotated[int, Interval(ge=1, le=MOST["train"])] = MOST["train"]
    """Training images. A smaller number takes the first of them."""
    validation: Annotated[int, Interval(ge=1, le=MOST["validation"])] = MOST["validation"]
    """Validation images."""
    test: Annotated[int, Interval(ge=1, le=MOST["test"])] = MOST["test"]
    """Test images."""


def shape(options: Image) -> Shape:
    """Every pixel is a token, none is padding."""
    return Shape(max_length=options.size**2, grid=(options.size, options.size))


def describe(options: Image) -> str:
    """Size and colour."""
    return f"{options.size}×{options.size}, gray"


def build(options: Image, source: Source) -> Iterator[ExampleBlock]:
    """All images of all splits, the same for every form of the raw data."""
    from tasks.image.official import read

    for block in read(source, TASK.counts(options)):
        yield block if options.size == SIDE else halved(block)


def halved(block: ExampleBlock) -> ExampleBlock:
    """Images with half the pixels along a side: means of 2×2 gray values, with halves rounded up."""
    small = SIDE // 2
    sums = block.tokens.reshape(-1, small, 2, small, 2).sum((2, 4), dtype=np.uint16)
    tokens = ((sums + 2) // 4).astype(np.uint8)
    return replace(block, tokens=tokens.reshape(-1), lengths=np.full(len(block.labels), small**2, np.int64))


def picture(options: Image, splits: Mapping[str, Split], path: Path) -> None:
    """The first training images of each class and their mean."""
    from tasks.image.picture import draw

    draw(splits["train"], options.size, path)


TASK = Task(
    name="image",
    title="Image",
    order=50,
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
