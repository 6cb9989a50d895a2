"""A task of a few examples, for tests of the machinery around tasks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tasks.base import SPLITS, ExampleBlock, Shape, Source, Task


@dataclass(frozen=True, kw_only=True)
class ToyOptions:
    """Random tokens of random lengths."""

    train: int = 12
    validation: int = 4
    test: int = 4
    seed: int = 0
    fail_after: int = 100


def build(options: ToyOptions, source: Source) -> Iterator[ExampleBlock]:
    """Two examples a block."""
    made = 0
    for split in ("test", "validation", "train"):
        for _ in range(getattr(options, split) // 2):
            if made == options.fail_after:
                raise KeyboardInterrupt
            rng = np.random.default_rng([options.seed, made])
            lengths = rng.integers(1, 9, 2)
            yield ExampleBlock(
                split=split,
                tokens=rng.integers(1, 10, lengths.sum()).astype(np.uint8),
                lengths=lengths,
                labels=rng.integers(0, 2, 2),
                extras={"place": np.full((2, 1), made)},
            )
            made += 1


def no_picture(options: Any, splits: Any, path: Any) -> None:
    """A toy has nothing to show."""
    path.write_bytes(b"")


TOY = Task(
    name="toy",
    title="Toy",
    version=1,
    classes=2,
    vocab=10,
    options=ToyOptions,
    validation=lambda options: "drawn",
    shape=lambda options: Shape(max_length=8),
    describe=lambda options: "toy",
    build=build,
    references=lambda options, splits: {"chance": 0.5},
    picture=no_picture,
)


def pairs(options: ToyOptions, source: Source) -> Iterator[ExampleBlock]:
    """Four examples a split that share three documents: every kind of file is written, no two files are equal."""
    for number, split in enumerate(SPLITS):
        yield ExampleBlock(
            split=split,
            tokens=(np.arange(12, dtype=np.uint8) + number) % 9 + 1,
            lengths=np.roll([3, 4, 5], number),
            labels=np.roll([0, 1, 1, 0], number),
            examples=np.roll([[0, 1], [1, 2], [2, 0], [0, 0]], number, axis=0),
            extras={"place": np.arange(4)[:, None] + number},
        )


PAIRS = replace(TOY, name="pairs", build=pairs, towers=2)
