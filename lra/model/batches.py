"""Which example is in which step, and the arrays a backend is fed: the same for both frameworks.

Epoch e visits the training examples in an order drawn from (seed, e); step s takes the next batch_size of them, so
a batch may cross into the next epoch and every example is seen exactly once an epoch. Any step can be rebuilt from
its number alone, which is what makes a resumed run see what the unbroken one would have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from jaxtyping import Float64, Int32, Int64, UInt

from lra.model.padding import Grouping, Padding, plan_padding
from tasks.base import Split

NO_EXAMPLE = -1

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """K steps for one call of a backend (K batches of B examples with T documents of up to N tokens).

    `lengths` is None where every position of every document is real. A label of -1 marks a row that is no example
    and counts nowhere (only evaluation has such rows). `rates` are the learning rates; zeros for evaluation. A batch
    is G groups of B/G examples side by side; no document of group g in step k has more than sizes[size_of[k, g]]
    tokens. `places` are the examples' places in the batch as it was drawn, before it was sorted by length.
    """

    tokens: UInt[np.ndarray, "K B T N"]
    lengths: Int32[np.ndarray, "K B T"] | None
    labels: Int32[np.ndarray, "K B"]
    steps: Int32[np.ndarray, " K"]
    rates: Float64[np.ndarray, " K"]
    places: Int32[np.ndarray, "K B"]
    sizes: tuple[int, ...]
    size_of: Int32[np.ndarray, "K G"]
    of: Int64[np.ndarray, " K"] | None = None
    """How many examples the whole batches have of which these are a share; None where they are whole."""

    @property
    def examples(self) -> Int64[np.ndarray, " K"]:
        """Examples of each whole batch."""
        return (self.labels != NO_EXAMPLE).sum(1) if self.of is None else self.of


class Epochs:
    """The order of the training examples: a pure function of the seed and the position."""

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._order = lru_cache(maxsize=2)(lambda epoch: np.random.default_rng([seed, epoch]).permutation(count))

    def at(self, first: int, number: int) -> Int64[np.ndarray, " n"]:
        """The examples at positions first … first + number − 1 of the endless sequence of epochs."""
        positions = np.arange(first, first + number)
        epochs, within = np.divmod(positions, self._count)
        return np.concatenate([self._order(int(e))[within[epochs == e]] for e in np.unique(epochs)])


class Gatherer:
    """Copies examples of one split out of the memory map into padded arrays."""

    def __init__(self, split: Split, padding: Padding) -> None:
        self._split = split
        self._padding = padding
        self._lengths = np.diff(split.offsets).astype(np.int32)
        self._full = bool((self._lengths == padding.sizes[-1]).all())
        self._needs = needs_of(split)

    @property
    def by_length(self) -> Int64[np.ndarray, " n"]:
        """The split's examples in the order in which evaluation takes them."""
        return np.argsort(self._needs, kind="stable")

    def training(self, rows: Int64[np.ndarray, "K B"], steps: np.ndarray, rates: np.ndarray) -> Chunk:
        """The chunk whose batch k holds the examples rows[k], sorted by length where they are grouped."""
        groups = self._padding.groups
        places = np.broadcast_to(np.arange(rows.shape[1]), rows.shape)
        if groups > 1:
            places = np.argsort(self._needs[rows], 1, kind="stable")
            rows = np.take_along_axis(rows, places, 1)
        needs = self._needs[rows].reshape(len(rows), groups, -1).max(2)
        return self._gather(rows, steps, rates, places, self._padding.sizes, self._padding.size_of(needs))

    def evaluation(self, batch: int) -> Iterator[Chunk]:
        """Every example once, by length, one batch a chunk; the last is filled up with rows that are no example."""
        order = self.by_length
        for first in range(0, len(order), batch):
            rows = np.full(batch, NO_EXAMPLE)
            rows[: len(order) - first] = order[first : first + batch]
            needs = np.where(rows == NO_EXAMPLE, 0, self._needs[rows]).reshape(1, self._padding.groups, -1).max(2)
            places = np.arange(batch)[None]
            yield self._gather(rows[None], np.zeros(1), np.zeros(1), places, *self._cut(needs))

    def _cut(self, needs: Int64[np.ndarray, "K G"]) -> tuple[tuple[int, ...], Int64[np.ndarray, "K G"]]:
        """The sizes that are used, and which of them each group has."""
        size_of = self._padding.size_of(needs)
        return self._padding.sizes[: size_of.max() + 1], size_of

    def _gather(
        self,
        rows: np.ndarray,
        steps: np.ndarray,
        rates: np.ndarray,
        places: np.ndarray,
        sizes: tuple[int, ...],
        size_of: np.ndarray,
    ) -> Chunk:
        real = rows != NO_EXAMPLE
        documents = self._split.examples[np.where(real, rows, 0)]
        tokens = np.zeros((*documents.shape, sizes[-1]), self._split.tokens.dtype)
        if self._full:
            tokens[:] = self._split.tokens.reshape(-1, sizes[-1])[documents]
        else:
            for place in np.ndindex(documents.shape):
                document = self._split.document(int(documents[place]))[: sizes[-1]]
                tokens[place][: len(document)] = document
        return Chunk(
            tokens=tokens,
            lengths=None if self._full else np.where(real[..., None], self._lengths[documents], 0),
            labels=np.where(real, self._split.labels[np.where(real, rows, 0)].astype(np.int32), np.int32(NO_EXAMPLE)),
            steps=steps.astype(np.int32),
            rates=rates,
            places=places.astype(np.int32),
            sizes=sizes,
            size_of=size_of.astype(np.int32),
        )


def gatherers(splits: Mapping[str, Split], batch: int, steps: int, grouping: Grouping) -> dict[str, Gatherer]:
    """One for each split, all padded to the sizes that suit so many steps on the training examples."""
    longest = int(max(needs_of(split).max() for split in splits.values()))
    padding = plan_padding(needs_of(splits["train"]), longest, batch, steps, grouping)
    return {name: Gatherer(split, padding) for name, split in splits.items()}


def needs_of(split: Split) -> Int64[np.ndarray, " n"]:
    """The tokens of each example's longest document."""
    return np.diff(split.offsets)[split.examples].max(1)


def chunk_bounds(first: int, total: int, every: int, chunk: int) -> Iterator[tuple[int, int]]:
    """Cut steps first … total − 1 into chunks that never cross an evaluation (a multiple of `every`).

    The chunk length is the greatest divisor of `every` up to `chunk`, so that a framework that compiles once a
    length compiles once.
    """
    length = max(size for size in range(1, min(chunk, every) + 1) if every % size == 0)
    while first < total:
        last = min(first + length, total)
        yield first, last
        first = last


def training_chunks(
    gather: Gatherer, epochs: Epochs, bounds: Iterable[tuple[int, int]], batch: int, rate: Callable
) -> Iterator[Chunk]:
    """The chunks of training, in order."""
    for first, last in bounds:
        steps = np.arange(first, last)
        rows = epochs.at(first * batch, (last - first) * batch).reshape(-1, batch)
        yield gather.training(rows, steps, rate(steps))


def ahead(chunks: Iterator[T]) -> Iterator[T]:
    """The same chunks, each gathered by a thread while the one before it is being used."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        following = pool.submit(next, chunks, None)
        while (chunk := following.result()) is not None:
            following = pool.submit(next, chunks, None)
            yield chunk
