"""Pathfinder: are two discs connected by one dashed curve? Pixels are tokens, row by row.

Linsley et al. 2018 (arXiv 1805.08315) and Kim et al. 2020, in the sizes of Tay et al. 2020 (arXiv 2011.04006): 32×32 is
Pathfinder, 128×128 Path-X, 256×256 Path-256. Images are generated from a seed, or read from the release.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from tasks.base import SPLITS, ExampleBlock, Examples, Seed, Shape, Source, Split, Task, TaskError
from tasks.parallel import in_order
from tasks.pathfinder.snakes.settings import Level, Settings, settings_for


@dataclass(frozen=True, kw_only=True)
class Pathfinder:
    """Options of the Pathfinder data."""

    source: Literal["generated", "official"] = "generated"
    """generated: from the seed; official: the released PNG files."""
    size: Literal[16, 32, 64, 128, 256] = 32
    """Pixels along a side: 16, 32 (Pathfinder), 64, 128 (Path-X) or 256 (Path-256)."""
    level: Level = "hard"
    """Length of the curves: 6, 9 or 14 paddles (2, 3 or 4 at size 16)."""
    contour_length: Annotated[int, Interval(ge=2, le=1000)] | None = None
    """Paddles of each long curve, instead of the level's number; generated images only."""
    balance_distance: bool = False
    """Keep only images whose two possible second discs have the same distance from the first; generated images only."""
    train: Examples = 160_000
    """Training images. A smaller number takes the first of them."""
    validation: Examples = 20_000
    """Validation images."""
    test: Examples = 20_000
    """Test images."""
    seed: Seed = 0
    """Seed of the generator."""


def check(options: Pathfinder) -> None:
    """Raise TaskError for images that the generator cannot draw or the release lacks."""
    settings(options)
    if options.source == "official" and (options.size == 16 or options.contour_length or options.balance_distance):
        raise TaskError(
            "the released Pathfinder has size 32, 64, 128 or 256 and three levels: for size 16, contour_length or "
            "balance_distance use source generated"
        )


def settings(options: Pathfinder) -> Settings:
    """The generator's arguments for these options. TaskError for impossible options."""
    chosen = settings_for(options.size, options.level, options.contour_length)
    return replace(chosen, balance_distance=options.balance_distance)


def shape(options: Pathfinder) -> Shape:
    """Every pixel is a token, none is padding."""
    return Shape(max_length=options.size**2, grid=(options.size, options.size))


def describe(options: Pathfinder) -> str:
    """Size, level and contour length, and differences to the published generator."""
    contour = settings(options).contour_length
    named = options.size > 16 and options.contour_length is None
    text = f"{options.size}×{options.size}, " + (
        f"{options.level} (contour {contour})" if named else f"contour {contour}"
    )
    text += ", balanced distances" if options.balance_distance else ""
    return text if options.source == "generated" else f"{text}, released files"


def build(options: Pathfinder, source: Source) -> Iterator[ExampleBlock]:
    """All images of all splits, the same for any number of processes."""
    if options.source == "official":
        from tasks.pathfinder.official import read

        yield from read(source, options.size, options.level, TASK.counts(options))
        return
    source.tell(f"generated from seed {options.seed}")
    with closing(in_order(_drawer(options), _parts(options), source.processes)) as blocks:
        yield from blocks


def _parts(options: Pathfinder) -> Iterator[tuple[str, int, int]]:
    """(split, first image, number of images) of every block. Blocks are short, so that interrupts act quickly."""
    length = 500 if options.size <= 32 else 10
    for split in SPLITS:
        count = getattr(options, split)
        for first in range(0, count, length):
            yield split, first, min(length, count - first)


def _drawer(options: Pathfinder) -> Callable[[tuple[str, int, int]], ExampleBlock]:
    from tasks.pathfinder.snakes.sampler import generate  # imported late: only generation needs numba

    chosen = settings(options)
    pixels = options.size**2

    def draw(part: tuple[str, int, int]) -> ExampleBlock:
        split, first, count = part
        made = generate(chosen, options.seed, split, first, count)
        lengths = np.full(count, pixels, np.int64)
        tokens, extras = made.images.reshape(-1), {"markers": made.markers}
        return ExampleBlock(split=split, tokens=tokens, lengths=lengths, labels=made.labels, extras=extras)

    return draw


def marker_distances(markers: np.ndarray) -> np.ndarray:
    """(n,) distances between the two discs in whole pixels, from (n, 4) y, x, y, x."""
    away = markers[:, 2:].astype(np.int64) - markers[:, :2]
    return np.rint(np.hypot(away[:, 0], away[:, 1])).astype(np.int64)


def references(options: Pathfinder, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, and of the most frequent label given the discs' distance.

    The last rule needs the places of the discs, which only generated data has. Both rules are fitted on the training
    split.
    """
    train, test = splits["train"], splits["test"]
    majority = int(np.bincount(train.labels, minlength=2).argmax())
    found = {"chance": 0.5, "majority": float((test.labels == majority).mean())}
    if "markers" in train.extras and "markers" in test.extras:
        counts = np.zeros((2 * options.size, 2), np.int64)
        np.add.at(counts, (marker_distances(train.extras["markers"]), train.labels), 1)
        rule = np.where(counts[:, 0] == counts[:, 1], majority, counts.argmax(1))
        guesses = rule[marker_distances(test.extras["markers"])]
        found["marker distance"] = float((test.labels == guesses).mean())
    return found


def picture(options: Pathfinder, splits: Mapping[str, Split], path: Path) -> None:
    """The first training images of each label, side by side."""
    from tasks.pathfinder.picture import draw

    named = {128: "Path-X", 256: "Path-256"}.get(options.size, "Pathfinder")
    draw(splits["train"], options.size, f"{named}: {describe(options)}", path)


TASK = Task(
    name="pathfinder",
    title="Pathfinder",
    order=60,
    version=1,
    classes=2,
    vocab=256,
    options=Pathfinder,
    check=check,
    validation=lambda options: "separate images from the same source",
    shape=shape,
    describe=describe,
    build=build,
    references=references,
    picture=picture,
)
