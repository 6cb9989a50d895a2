"""Retrieval: does one of two papers cite the other? The same encoder reads both documents, as bytes.

The pairs are those of Tay et al. 2020 (arXiv 2011.04006), from the ACL Anthology Network (Radev et al. 2009). They are
read from the released files. The splits share papers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import ExampleBlock, Examples, Length, Shape, Source, Split, Task
from tasks.utf8 import VOCAB


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Options of the released pairs."""

    max_length: Length = 4096
    """The most bytes of a document; the rest is cut off."""
    train: Examples = 147_086
    """Training pairs. A smaller number takes the first pairs of the file."""
    validation: Examples = 18_090
    """Validation pairs."""
    test: Examples = 17_437
    """Test pairs."""


def shape(options: Retrieval) -> Shape:
    """The length of one document; the two are never concatenated."""
    return Shape(max_length=options.max_length)


def describe(options: Retrieval) -> str:
    """Length and source."""
    return f"{options.max_length:,} bytes, released pairs"


def build(options: Retrieval, source: Source) -> Iterator[ExampleBlock]:
    """All pairs of all splits, read line by line."""
    from tasks.retrieval.official import read

    yield from read(source, TASK.counts(options), options.max_length)


def references(options: Retrieval, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, of popularity and of shared words."""
    from tasks.retrieval.references import references as measure  # imported late: only preparation needs SciPy

    return measure(splits)


def picture(options: Retrieval, splits: Mapping[str, Split], path: Path) -> None:
    """Some pairs side by side, the lengths, and how popular the documents of either label are."""
    from tasks.retrieval.picture import draw

    draw(splits["train"], options.max_length, f"Retrieval, {describe(options)}", path)


TASK = Task(
    name="retrieval",
    title="Retrieval",
    order=30,
    version=1,
    classes=2,
    vocab=VOCAB,
    towers=2,
    options=Retrieval,
    validation=lambda options: "the released new_aan_pairs.eval.tsv",
    shape=shape,
    describe=describe,
    build=build,
    references=references,
    picture=picture,
)
