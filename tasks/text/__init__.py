"""Text: is a film review positive or negative? Its bytes are the tokens.

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

VOCAB = 0xF4 + 2  # padding's 0, then byte + 1; no byte of UTF-8 is above 0xF4
HELD_OUT = 2_500  # of the official training set, half of them positive
BLOCK = 1000
Reviews = Annotated[int, Interval(ge=1, le=25_000)]  # either half of IMDB


@dataclass(frozen=True, kw_only=True)
class Text:
    """Which IMDB data is meant."""

    max_length: Length = 4096
    """Bytes of a review, at most; the rest is cut off."""
    train: Reviews = 22_500
    """Training reviews; a smaller number is the beginning of a larger one."""
    validation: Reviews = 2_500
    """Validation reviews."""
    test: Reviews = 25_000
    """Test reviews."""
    validation_from: Literal["train", "test"] = "train"
    """Hold 2,500 out of the training set; `test` validates on the test set, only to replicate old tables (take
    train 25,000 and validation 25,000 with it)."""
    seed: Seed = 0
    """Decides which reviews are held out, and the order of all."""


def check(options: Text) -> None:
    """Raise TaskError where a split is asked for more reviews than there are."""
    for split, most in available(options).items():
        if getattr(options, split) > most:
            raise TaskError(
                f"data.{split} is {getattr(options, split):,}, expected at most {most:,}: ask for fewer, or take "
                "data.validation_from test"
            )


def available(options: Text) -> dict[str, int]:
    """How many reviews each split can have."""
    if options.validation_from == "test":
        return {"train": 25_000, "validation": 25_000, "test": 25_000}
    return {"train": 25_000 - HELD_OUT, "validation": HELD_OUT, "test": 25_000}


def shape(options: Text) -> Shape:
    """Reviews of up to max_length bytes."""
    return Shape(max_length=options.max_length)


def describe(options: Text) -> str:
    """The length, and a validation set that is none."""
    text = f"bytes, at most {options.max_length:,}"
    return text if options.validation_from == "train" else f"{text}, validated on the test set"


def validation(options: Text) -> str:
    """Where the validation reviews come from."""
    if options.validation_from == "test":
        return "THE TEST SET ITSELF: comparable with old tables only"
    return f"{HELD_OUT:,} held out of the official training set, seed {options.seed}"


def build(options: Text, source: Source) -> Iterator[ExampleBlock]:
    """Every review of every split, in an order that depends on the texts and the seed alone."""
    for split, reviews in assign(options, read(source)).items():
        chosen = reviews[: getattr(options, split)]
        for first in range(0, len(chosen), BLOCK):
            yield _block(split, chosen[first : first + BLOCK], options.max_length)


def assign(options: Text, reviews: list[Review]) -> dict[str, list[Review]]:
    """The reviews of each split, sorted by a hash of seed and text, so that equal texts stand together.

    As many reviews of either label are held out, those whose hash is smallest.
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
    """What the reviews are ordered by."""
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
    """Test accuracy of guessing, of the commonest label, and of naive Bayes on how often each byte occurs.

    The last two are fitted on train.
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
    """(n, VOCAB) how often each token occurs in each review."""
    counts = [np.bincount(split.document(int(row)), minlength=VOCAB).astype(np.uint16) for row in split.examples[:, 0]]
    return np.stack(counts) if counts else np.zeros((0, VOCAB), np.uint16)


def picture(options: Text, splits: Mapping[str, Split], path: Path) -> None:
    """Some reviews as they are read, and the lengths of the training set."""
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
