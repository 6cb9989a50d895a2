"""ListOps: nested lists of digits and operators, 500 to 2,000 tokens long. The label is the value of the expression.

Nangia and Bowman 2018 (arXiv 1804.06028) in the long form of Tay et al. 2020 (arXiv 2011.04006). The examples are
generated from a seed, or read from the released files.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from annotated_types import Interval

from tasks.base import SPLITS, ExampleBlock, Examples, Length, Seed, Shape, Source, Split, Task, TaskError
from tasks.listops.grammar import CLOSE, VOCAB, depth
from tasks.listops.seen import BYTES, Seen
from tasks.parallel import in_order

if TYPE_CHECKING:
    from tasks.listops.trees import Trees

BLOCK = 1000  # expressions drawn from one random stream
BARREN = 20  # after this many blocks in a row with almost nothing new, no more expressions are expected


@dataclass(frozen=True, kw_only=True)
class ListOps:
    """Options of the ListOps data."""

    source: Literal["generated", "official"] = "generated"
    """generated: from the seed; official: the released basic_{train,val,test}.tsv."""
    train: Examples = 96_000
    """Training expressions. A smaller number takes the first of them."""
    validation: Examples = 2_000
    """Validation expressions."""
    test: Examples = 2_000
    """Test expressions."""
    seed: Seed = 0
    """Seed of the generator."""
    min_length: Annotated[int, Interval(ge=0, le=1_000_000)] = 500
    """Lower bound of lengths: every expression has more tokens than this."""
    max_length: Length = 2_000
    """Upper bound of lengths: every expression has fewer tokens than this."""
    max_depth: Annotated[int, Interval(ge=1, le=1000)] = 10
    """Levels of the tree; the last one has only digits."""
    max_args: Annotated[int, Interval(ge=2, le=10_000)] = 10
    """The most arguments of an operator; the fewest are two."""
    brackets: bool = True
    """Keep the closing brackets. Without them, as in the benchmark until June 2021, the ends of lists are not visible.
    The bounds of lengths always count them."""


def check(options: ListOps) -> None:
    """Raise TaskError for bounds that no expression meets."""
    if options.max_length - options.min_length < 2 or options.min_length >= _longest(options):
        raise TaskError(f"no ListOps expression has {_bounds(options)}: widen the bounds")


def _bounds(options: ListOps) -> str:
    return (
        f"more than {options.min_length} and fewer than {options.max_length} tokens "
        f"with max_depth {options.max_depth} and max_args {options.max_args}"
    )


def _longest(options: ListOps) -> int:
    """Tokens of the longest tree, counted up to max_length."""
    length = 1
    for _ in range(options.max_depth - 1):
        length = min(2 + options.max_args * length, options.max_length)
    return length


def shape(options: ListOps) -> Shape:
    """The shape: the smallest power of two for max_length - 1 tokens."""
    return Shape(max_length=1 << max(options.max_length - 2, 0).bit_length())


def describe(options: ListOps) -> str:
    """Length bounds and depth, and the source if it is not the generator."""
    text = f"{options.min_length:,}–{options.max_length:,} tokens, depth {options.max_depth}"
    text += "" if options.brackets else ", WITHOUT CLOSING BRACKETS (as before June 2021)"
    return text if options.source == "generated" else f"{text}, released files"


def build(options: ListOps, source: Source) -> Iterator[ExampleBlock]:
    """All examples of all splits. In generated data every expression is unique."""
    blocks = _complete(options, source)
    yield from blocks if options.brackets else map(_without_brackets, blocks)


def _without_brackets(block: ExampleBlock) -> ExampleBlock:
    kept = block.tokens != CLOSE
    starts = np.cumsum(block.lengths) - block.lengths
    return replace(block, tokens=block.tokens[kept], lengths=np.add.reduceat(kept, starts, dtype=np.int64))


def _complete(options: ListOps, source: Source) -> Iterator[ExampleBlock]:
    if options.source == "official":
        from tasks.listops.official import read

        yield from read(source, TASK.counts(options), shape(options).max_length)
        return
    source.tell(f"generated from seed {options.seed}")
    seen = Seen()
    for split in reversed(SPLITS):  # test first, so that its examples do not depend on other counts
        with closing(in_order(_sampler(options, split), itertools.count(), source.processes)) as drawn:
            yield from _distinct(options, split, drawn, seen)


def _sampler(options: ListOps, split: str) -> Callable[[int], Trees]:
    """A function from the number of a block to its expressions. Each block has its own random stream."""
    from tasks.listops.trees import sample  # imported late: only generation needs numba

    def draw(block: int) -> Trees:
        stream = np.random.SeedSequence([options.seed, SPLITS.index(split), block])
        return sample(
            np.random.Generator(np.random.PCG64(stream)),
            BLOCK,
            min_length=options.min_length,
            max_length=options.max_length,
            max_depth=options.max_depth,
            max_args=options.max_args,
        )

    return draw


def _distinct(options: ListOps, split: str, drawn: Iterator[Trees], seen: Seen) -> Iterator[ExampleBlock]:
    """The split's expressions: drawn ones that are not in `seen`, to which they are added."""
    missing = getattr(options, split)
    barren = 0
    while missing:
        trees = next(drawn)
        if len(trees.lengths) < BLOCK:
            raise TaskError(f"hardly any ListOps tree has {_bounds(options)}: widen the bounds")
        block = _unseen(split, trees, missing, seen)
        missing -= len(block.labels)
        barren = barren + 1 if len(block.labels) <= BLOCK // 1000 else 0
        if missing and barren == BARREN:
            raise TaskError(
                f"ListOps has no new expressions for {missing:,} of {getattr(options, split):,} {split} examples: "
                "set fewer examples, or longer or deeper ones"
            )
        if len(block.labels):
            yield block


def _unseen(split: str, trees: Trees, limit: int, seen: Seen) -> ExampleBlock:
    """The first `limit` expressions that are new."""
    ends = np.cumsum(trees.lengths)
    texts = (trees.tokens[start:end].data for start, end in zip(ends - trees.lengths, ends, strict=True))
    digests = b"".join(blake2b(text, digest_size=BYTES).digest() for text in texts)
    chosen = seen.new(digests)
    chosen &= np.cumsum(chosen) <= limit
    seen.add(digests, chosen)
    return ExampleBlock(
        split=split,
        tokens=trees.tokens[np.repeat(chosen, trees.lengths)],
        lengths=trees.lengths[chosen],
        labels=trees.values[chosen],
    )


def references(options: ListOps, splits: Mapping[str, Split]) -> dict[str, float]:
    """Test accuracy of guessing, of the most frequent label, and of the most frequent label given the first token.

    The first token is the root operator, or a single digit if the data has those. Both rules are fitted on the training
    split.
    """
    train, test = splits["train"], splits["test"]
    counts = np.zeros((VOCAB, TASK.classes), np.int64)
    np.add.at(counts, (_first_tokens(train), train.labels), 1)
    majority = counts.sum(0).argmax()
    given_first = np.where(counts.any(1), counts.argmax(1), majority)
    return {
        "chance": 1 / TASK.classes,
        "majority": float((test.labels == majority).mean()),
        "root operator": float((test.labels == given_first[_first_tokens(test)]).mean()),
    }


def _first_tokens(split: Split) -> np.ndarray:
    return split.tokens[split.offsets[split.examples[:, 0]]]


def picture(options: ListOps, splits: Mapping[str, Split], path: Path) -> None:
    """Some expressions, one of them as a tree, and the lengths and labels of the training set."""
    from tasks.listops.picture import draw

    draw(splits["train"], shape(options).max_length, path)


TASK = Task(
    name="listops",
    title="ListOps",
    order=10,
    version=1,
    classes=10,
    vocab=VOCAB,
    traits={"depth": depth},
    options=ListOps,
    check=check,
    validation=lambda options: "separate expressions from the same source",
    shape=shape,
    describe=describe,
    build=build,
    references=references,
    picture=picture,
)
