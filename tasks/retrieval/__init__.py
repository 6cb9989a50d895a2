"""Retrieval: does one of two papers cite the other? Two documents of bytes, read by the same encoder.

The pairs are those of Tay et al. 2020 (arXiv 2011.04006), from the ACL Anthology Network (Radev et al. 2009), and come
from the released files only. Their papers are shared between the splits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tasks.base import ExampleBlock, Examples, Length, Shape, Source, Split, Task
from tasks.retrieval.documents import VOCAB


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """Which of the released pairs are meant."""

    max_length: Length = 4096
    """Bytes of a document, from its beginning; the rest is cut off."""
    train: Examples = 147_086
    """Training pairs; a smaller number is the beginning of the file."""
    validation: Examples = 18_090
    """Validation pairs."""
    test: Examples = 17_437
    """Test pairs."""


def shape(options: Retrieval) -> Shape:
    """The length of one document; the two are never joined."""
    return Shape(max_length=options.max_length)


def describe(options: Retrieval) -> str:
    """Length and source."""
    return f"{options.max_length:,} bytes, released pairs"


def build(options: Retrieval, source: Source) -> Iterator[ExampleBlock]:
    """Every pair of every split, read line by line."""
    from tasks.retrieval.official import read

    yield from read(source, TASK.counts(options), options.max_length)


def references(options: Retrieval, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the commonest label, of popularity and of shared words."""
    from tasks.retrieval.references import references as measure  # SciPy is left to those who prepare data

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
