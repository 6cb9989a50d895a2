"""What a task is: where its examples come from, what their tokens mean, what guessing scores on it.

An example is one document (or two, for a two-tower task) and a label. Documents are stored end to end in one
flat array, so any length fits without padding; padding is known by lengths, never by a token's value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Any

import numpy as np
from annotated_types import Interval

SPLITS = ("train", "validation", "test")
# What NumPy raises for a file that is damaged or none of its own.
NOT_NUMPY = (OSError, ValueError, EOFError, TypeError, MemoryError, SyntaxError, TokenError)

# Ranges of options: lra checks what a field declares, for every way in.
Examples = Annotated[int, Interval(ge=1, le=100_000_000)]
Length = Annotated[int, Interval(ge=1, le=1_000_000)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]


class TaskError(Exception):
    """Data that is missing, damaged or impossible, told in one line: given, expected, what to do."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a task's sequences: the greatest length, and the pixel grid where there is one."""

    max_length: int
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class ExampleBlock:
    """Some examples of one split as a builder yields them; the store joins blocks in the order they come.

    `tokens` holds the documents end to end, `lengths` one entry a document. `examples` (n, towers) names each
    example's documents by their number inside the block, and a split then holds equal documents once, whichever
    blocks they come in; None means that document i is example i. `extras` are further arrays with one row an example
    (the reference lines use them), the same names in every block.
    """

    split: str
    tokens: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    examples: np.ndarray | None = None
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Split:
    """One prepared split, usually memory-mapped: document i is tokens[offsets[i]:offsets[i + 1]]."""

    tokens: np.ndarray  # flat, uint8 or uint16
    offsets: np.ndarray  # (documents + 1,) int64
    examples: np.ndarray  # (n, towers) int64 document numbers
    labels: np.ndarray  # (n,) uint8
    extras: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def document(self, index: int) -> np.ndarray:
        """The tokens of one document."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]


@dataclass(frozen=True, kw_only=True)
class Archive:
    """One file of the public network, with the size and the checksum that its owner's users agree on."""

    url: str
    size: int
    """Bytes."""
    sha256: str
    dataset: str
    """The dataset of tensorflow-datasets that downloads it too, so that either finds the other's copy."""


def _no_network(archive: Archive) -> Path:
    raise TaskError(f"{archive.url} is needed and nothing here may download it: name your own copy with --raw DIR")


def _unheard(origin: str) -> None:
    """Nobody asked where the data came from."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a build may draw on, and whom it tells."""

    raw: Path | None = None
    """The user's own raw files; a task that finds none of its own there looks elsewhere."""
    processes: int = 1
    """How many it may start."""
    fetch: Callable[[Archive], Path] = _no_network
    """Downloads and checks an archive, unless it is there already; TaskError where that fails."""
    tell: Callable[[str], None] = _unheard
    """Called once, before the first block, with where the data comes from: "aclImdb_v1.tar.gz"."""
    note: Callable[[str], None] = _unheard
    """Called with what the user should know besides."""

    def require_folder(self, wanted: str) -> None:
        """TaskError where the user named a file that is not `wanted`: nothing else is taken in its place."""
        if self.raw is not None and not self.raw.is_dir():
            raise TaskError(f"{self.raw} is none of {wanted}: name one of them, or nothing to look elsewhere")

    def fetched(self, archive: Archive, wanted: str) -> Path:
        """The archive, fetched because `wanted` is not among the user's own files, which is said."""
        if self.raw is None:
            return self.fetch(archive)
        self.note(f"no {wanted} in {self.raw}: looking for {archive.url}")
        try:
            return self.fetch(archive)
        except TaskError as error:
            raise TaskError(f"no {wanted} in {self.raw}; {error}") from None


# Yields every example of every split of the data that its options describe.
Build = Callable[[Any, Source], Iterator[ExampleBlock]]


def _anything(options: Any) -> None:
    """The check of a task whose every option goes with every other."""


def _largest(task: Task, options: Any) -> int:
    """Every document of every example as long as can be."""
    documents = sum(filter(None, task.counts(options).values())) * task.towers
    return documents * task.shape(options).max_length * task.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of the suite.

    `options` is a frozen dataclass whose fields say which data is meant: every one of them changes the examples,
    so together with `version` they name the prepared folder. It has the fields train, validation and test (how
    many examples; None for all there are), and seed where chance has a part. A field declares its range. Raise
    `version` whenever an example changes.
    """

    name: str
    title: str
    version: int
    classes: int
    vocab: int  # token values are below this
    options: type
    validation: Callable[[Any], str]  # where the validation examples come from, printed with every score
    shape: Callable[[Any], Shape]
    describe: Callable[[Any], str]  # a few words for tables, "16×16, contour 5"
    build: Build
    references: Callable[[Any, Mapping[str, Split]], dict[str, float]]  # test accuracy of rules without learning
    picture: Callable[[Any, Mapping[str, Split], Path], None]  # writes one PNG that shows the examples
    towers: int = 1
    order: int = 1000
    """Its place in the tables, a number that stands in the definition; equal ones stand by name."""

    check: Callable[[Any], None] = _anything
    """Raises TaskError, in one line, for options that are in their ranges and yet do not go together."""
    traits: Mapping[str, Callable[[np.ndarray], int]] = field(default_factory=dict)
    """What tells hard examples from easy ones besides length, by name: a whole number of one document's tokens."""
    size: Callable[[Task, Any], int] = _largest
    """An upper bound on the bytes of the prepared tokens."""

    @property
    def dtype(self) -> np.dtype:
        """The smallest type that holds its tokens."""
        return np.dtype(np.uint8 if self.vocab <= 256 else np.uint16)

    def counts(self, options: Any) -> dict[str, Any]:
        """How many examples each split holds; None where that is known only once the data is there."""
        return {split: getattr(options, split) for split in SPLITS}
