"""Image: what does a photograph of 32×32 pixels show? Its pixels, made gray, are the tokens, row by row.

CIFAR-10 (Krizhevsky 2009) in the form of Tay et al. 2020 (arXiv 2011.04006), with their split. Black is a token like
any other; nothing is padding. Besides theirs there is a small form of 16×16 pixels, a quarter of the tokens.
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
    """Which CIFAR-10 data is meant."""

    size: Literal[32, 16] = 32
    """Pixels along a side: 32 is the benchmark's; a pixel of 16 is the mean of 2×2 of them."""
    train: Annotated[int, Interval(ge=1, le=MOST["train"])] = MOST["train"]
    """Training images; a smaller number is the beginning of a larger one."""
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
    """Every image of every split, the same whatever form of the data they come from."""
    from tasks.image.official import read

    for block in read(source, TASK.counts(options)):
        yield block if options.size == SIDE else halved(block)


def halved(block: ExampleBlock) -> ExampleBlock:
    """The same images with half as many pixels along a side: means of 2×2 gray values, halves rounded up."""
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
