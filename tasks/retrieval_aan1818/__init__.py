"""Retrieval on free data: 1,818 ACL Anthology papers with their real citations, and negatives without giveaways.

The task is similar to LRA's Retrieval, with a tenth of the papers and other pairs. Scores on the two are not
comparable, so it has its own name. 1,663 of the texts are those of ScisummNet (Yasunaga et al. 2019) and CL-SciSumm
(CC BY 4.0). The citations are those of the ACL Anthology Network (Radev et al. 2009), which ends in 2012. Only papers
up to 2012 are used, since citations of later ones are not complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tasks.base import ExampleBlock, Examples, Length, Seed, Shape, Source, Split, Task, TaskError
from tasks.retrieval.documents import block
from tasks.retrieval_aan1818.corpus import Corpus, find, read
from tasks.retrieval_aan1818.pairs import Division, divide, mixed
from tasks.utf8 import VOCAB

BLOCK = 500
PAPERS = 1711  # of 1,818: those up to 2012


@dataclass(frozen=True, kw_only=True)
class RetrievalAAN:
    """Options of the pairs of the 1,818 papers."""

    split: Division = "papers"
    """papers: split papers 60 / 10 / 30, so that no paper is in two splits; pairs: split pairs 80 / 10 / 10, as LRA."""
    max_length: Length = 4096
    """The most bytes of a document; the rest is cut off."""
    train: Examples | None = None
    """Training pairs. None: all; a number: the first of them."""
    validation: Examples | None = None
    """Validation pairs."""
    test: Examples | None = None
    """Test pairs."""
    seed: Seed = 0
    """Seed of the splits, the negatives and the order."""


def shape(options: RetrievalAAN) -> Shape:
    """The length of one document; the two are never concatenated."""
    return Shape(max_length=options.max_length)


def describe(options: RetrievalAAN) -> str:
    """Length, and whether the splits share papers."""
    return f"{options.max_length:,} bytes, papers {'apart' if options.split == 'papers' else 'shared between splits'}"


def validation(options: RetrievalAAN) -> str:
    """The source of the validation pairs."""
    if options.split == "papers":
        return "the pairs inside a tenth of the papers, which no other split has"
    return "a tenth of the pairs, whose papers are in the other splits too"


def build(options: RetrievalAAN, source: Source) -> Iterator[ExampleBlock]:
    """All pairs of all splits: the later paper, the earlier one, and whether one cites the other.

    In a whole split the labels are balanced, and every paper is on each side as often with label 0 as with label 1. The
    first part of a split is balanced too, but the latter is true only on average.
    """
    folder = find(source.raw)
    corpus = read(folder, options.max_length)
    splits = divide(corpus, options.split, options.seed)
    dropped = sum(pairs.dropped for pairs in splits.values())
    source.tell(f"{folder}: {len(corpus):,} papers; {dropped} citations without a matching negative left out")
    for split, pairs in splits.items():
        examples, labels = mixed(pairs, split, options.seed)
        count = _count(split, len(labels), TASK.counts(options)[split])
        for first in range(0, count, BLOCK):
            part = slice(first, min(first + BLOCK, count))
            yield _block(split, corpus, examples[part], labels[part])


def _count(split: str, found: int, asked: int | None) -> int:
    if not found:
        raise TaskError(f"no two {split} papers of retrieval-aan1818 cite each other: restore the corpus")
    if asked is not None and asked > found:
        raise TaskError(f"retrieval-aan1818 has {found:,} {split} pairs, expected {asked:,}: set {split} lower")
    return found if asked is None else asked


def _block(split: str, corpus: Corpus, examples: np.ndarray, labels: np.ndarray) -> ExampleBlock:
    papers, numbers = np.unique(examples, return_inverse=True)
    documents = [corpus.texts[paper] for paper in papers]
    years = (corpus.years[examples[:, 0]] - corpus.years[examples[:, 1]]).astype(np.uint8)
    return block(split, documents, numbers.reshape(-1, 2).astype(np.int64), labels, years=years)


def references(options: RetrievalAAN, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, of popularity, of shared words and of the years between.

    Models do not see the year of a paper, but its text may have it.
    """
    from tasks.retrieval.references import by_level  # imported late: only preparation needs SciPy
    from tasks.retrieval.references import references as measure

    train, test = splits["train"], splits["test"]
    return {**measure(splits), "years between": by_level(train, test, train.extras["years"], test.extras["years"])}


def picture(options: RetrievalAAN, splits: Mapping[str, Split], path: Path) -> None:
    """Some pairs side by side, the lengths, and how popular the documents of either label are."""
    from tasks.retrieval.picture import draw

    draw(splits["train"], options.max_length, f"Retrieval (AAN 1818), {describe(options)}", path)


def size(task: Task, options: RetrievalAAN) -> int:
    """Every paper once, or once for each split if the splits share papers."""
    return PAPERS * options.max_length * (1 if options.split == "papers" else 3)


TASK = Task(
    name="retrieval-aan1818",
    title="Retrieval (AAN 1818)",
    order=40,
    version=1,
    classes=2,
    vocab=VOCAB,
    towers=2,
    options=RetrievalAAN,
    validation=validation,
    shape=shape,
    describe=describe,
    build=build,
    references=references,
    picture=picture,
    size=size,
)
