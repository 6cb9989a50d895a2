"""Text: is a film review positive or negative? The tokens are its bytes.

IMDB (Maas et al., ACL 2011) in the form of Tay et al. 2020 (arXiv 2011.04006), with a validation set of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from tasks.base import ExampleBlock, Length, Seed, Shape, Source, Split, Task, TaskError
from tasks.text.official import Review, read
from tasks.utf8 import VOCAB

HELD_OUT = 2_500  # of the official training set, half of them positive
BLOCK = 1000
Reviews = Annotated[int, Interval(ge=1, le=25_000)]  # either half of IMDB


@dataclass(frozen=True, kw_only=True)
class Text:
    """Options of the IMDB data."""

    max_length: Length = 4096
    """The most bytes of a review; the rest is cut off."""
    train: Reviews = 22_500
    """Training reviews. A smaller number takes the first of them."""
    validation: Reviews = 2_500
    """Validation reviews."""
    test: Reviews = 25_000
    """Test reviews."""
    validation_from: Literal["train", "test"] = "train"
    """train: hold 2,500 reviews out of the training set. test: validate on the test set, only to repeat old tables.
    Then set train and validation to 25,000."""
    seed: Seed = 0
    """Seed of the held-out reviews and of the order of all reviews."""


def check(options: Text) -> None:
    """Raise TaskError if a split needs more reviews than there are."""
    for split, most in available(options).items():
        if getattr(options, split) > most:
            raise TaskError(
                f"data.{split} is {getattr(options, split):,}, expected at most {most:,}: ask for fewer, or take "
                "data.validation_from test"
            )


def available(options: Text) -> dict[str, int]:
    """The most reviews of each split."""
    if options.validation_from == "test":
        return {"train": 25_000, "validation": 25_000, "test": 25_000}
    return {"train": 25_000 - HELD_OUT, "validation": HELD_OUT, "test": 25_000}


def shape(options: Text) -> Shape:
    """The shape: up to max_length bytes."""
    return Shape(max_length=options.max_length)


def describe(options: Text) -> str:
    """The length, and a remark if the test set is used for validation."""
    text = f"bytes, at most {options.max_length:,}"
    return text if options.validation_from == "train" else f"{text}, validated on the test set"


def validation(options: Text) -> str:
    """The source of the validation reviews."""
    if options.validation_from == "test":
        return "THE TEST SET ITSELF: comparable with old tables only"
    return f"{HELD_OUT:,} held out of the official training set, seed {options.seed}"


def build(options: Text, source: Source) -> Iterator[ExampleBlock]:
    """All reviews of all splits, in an order that depends only on the texts and the seed."""
    for split, reviews in assign(options, read(source)).items():
        chosen = reviews[: getattr(options, split)]
        for first in range(0, len(chosen), BLOCK):
            yield _block(split, chosen[first : first + BLOCK], options.max_length)


def assign(options: Text, reviews: list[Review]) -> dict[str, list[Review]]:
    """The reviews of each split, sorted by a hash of seed and text, so that equal texts are neighbours.

    Equal numbers of both labels are held out: the reviews with the smallest hashes.
    """
    ordered = sorted(reviews, key=lambda review: digest(options.seed, review.text))
    train = [review for review in ordered if review.split == "train"]
    test = [review for review in ordered if review.split == "test"]
    if options.validation_from == "test":
        return {"train": train, "validation": test, "test": test}
    by_label = [[review for review in train if review.label == label] for label in (0, 1)]
    held = {id(review) for reviews in by_label for review in reviews[: HELD_OUT // 2]}
    return {
        "train": [review for review in train if id(review) not in held],
        "validation": [review for review in train if id(review) in held],
        "test": test,
    }


def digest(seed: int, text: bytes) -> bytes:
    """The sort key of reviews."""
    return blake2b(text, digest_size=16, key=seed.to_bytes(8, "little")).digest()


def _block(split: str, reviews: list[Review], longest: int) -> ExampleBlock:
    texts = [review.text[:longest] for review in reviews]
    return ExampleBlock(
        split=split,
        tokens=np.frombuffer(b"".join(texts), np.uint8) + np.uint8(1),
        lengths=np.array([len(text) for text in texts], np.int64),
        labels=np.array([review.label for review in reviews], np.uint8),
    )


def references(options: Text, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, and of naive Bayes on the counts of bytes.

    The last two are fitted on the training split.
    """
    train, test = splits["train"], splits["test"]
    totals = np.bincount(train.labels, minlength=2)
    byte_counts = [histograms(split) for split in (train, test)]
    per_label = np.stack([byte_counts[0][train.labels == label].sum(0) for label in (0, 1)]) + 1.0
    weights = np.log(per_label / per_label.sum(1, keepdims=True))
    scores = byte_counts[1] @ weights.T + np.log(np.maximum(totals, 1) / max(totals.sum(), 1))
    return {
        "chance": 0.5,
        "majority": float((test.labels == totals.argmax()).mean()),
        "byte counts": float((test.labels == scores.argmax(1)).mean()),
    }


def histograms(split: Split) -> np.ndarray:
    """(n, VOCAB) the counts of each token in each review."""
    counts = [np.bincount(split.document(int(row)), minlength=VOCAB).astype(np.uint16) for row in split.examples[:, 0]]
    return np.stack(counts) if counts else np.zeros((0, VOCAB), np.uint16)


def picture(options: Text, splits: Mapping[str, Split], path: Path) -> None:
    """Some reviews as the model reads them, and the lengths of the training split."""
    from tasks.text.picture import draw

    draw(splits["train"], options.max_length, f"Text: {describe(options)}", path)


TASK = Task(
    name="text",
    title="Text",
    order=20,
    version=1,
    classes=2,
    vocab=VOCAB,
    options=Text,
    check=check,
    validation=validation,
    shape=shape,
    describe=describe,
    build=build,
    references=references,
    picture=picture,
)
