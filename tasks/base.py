"""The parts of a task: the source of its examples, the meaning of their tokens, and rules without learning.

An example is one document (or two, for a two-tower task) and a label. Documents are stored end to end in one flat
array, so any length fits without padding. Padding is known by lengths, never by a token's value.
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
# The errors of NumPy for a file that is damaged or not its own.
NOT_NUMPY = (OSError, ValueError, EOFError, TypeError, MemoryError, SyntaxError, TokenError)

# Ranges of options. Every way to set an option checks them.
Examples = Annotated[int, Interval(ge=1, le=100_000_000)]
Length = Annotated[int, Interval(ge=1, le=1_000_000)]
Seed = Annotated[int, Interval(ge=0, lt=2**32)]


class TaskError(Exception):
    """An error in data: missing, damaged or impossible. Its one line says the problem and what to do."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The shape of a task's sequences: the greatest length, and the pixel grid if there is one."""

    max_length: int
    grid: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class ExampleBlock:
    """A block of examples of one split, from a builder. The store joins blocks in their order.

    `tokens` has the documents end to end; `lengths` has an entry for each document. `examples` (n, towers) has the
    numbers of each example's documents inside the block; the split then stores equal documents once. None means that
    document i is example i. `extras` has further arrays with a row for each example, for rules without learning. Every
    block has the same names in `extras`.
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
    """One file for download, with its known size and checksum."""

    url: str
    size: int
    """Bytes."""
    sha256: str
    dataset: str
    """The data set of tensorflow-datasets that downloads the same file, so that both share a copy."""


def _no_network(archive: Archive) -> Path:
    raise TaskError(f"{archive.url} is needed, but downloads are off: name your own copy with --raw DIR")


def _unheard(origin: str) -> None:
    """The default of `tell` and `note`: do nothing."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The sources for building data, and the functions that get messages."""

    raw: Path | None = None
    """The folder of the user's raw files. If the task's files are not in it, other sources are used."""
    processes: int = 1
    """The number of processes that a build may start."""
    fetch: Callable[[Archive], Path] = _no_network
    """Downloads and checks an archive, unless it is there already. TaskError if that fails."""
    tell: Callable[[str], None] = _unheard
    """Called once, before the first block, with the source of the data: "aclImdb_v1.tar.gz"."""
    note: Callable[[str], None] = _unheard
    """Called with further messages for the user."""

    def require_folder(self, wanted: str) -> None:
        """Raise TaskError if the user named a file that is not `wanted`; no other source replaces it."""
        if self.raw is not None and not self.raw.is_dir():
            raise TaskError(f"{self.raw} is none of {wanted}: name one of them, or leave --raw out")

    def fetched(self, archive: Archive, wanted: str) -> Path:
        """Download the archive, and tell the user that `wanted` is not among their files."""
        if self.raw is None:
            return self.fetch(archive)
        self.note(f"no {wanted} in {self.raw}: getting {archive.url}")
        try:
            return self.fetch(archive)
        except TaskError as error:
            raise TaskError(f"no {wanted} in {self.raw}; {error}") from None


# Yields all examples of all splits for given options.
Build = Callable[[Any, Source], Iterator[ExampleBlock]]


def _anything(options: Any) -> None:
    """The default of `check`: all options fit together."""


def _largest(task: Task, options: Any) -> int:
    """The default of `bound`: every document has the greatest length."""
    documents = sum(filter(None, task.counts(options).values())) * task.towers
    return documents * task.shape(options).max_length * task.dtype.itemsize


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of the suite.

    `options` is a frozen dataclass that describes the data. Every field changes the examples. So the fields, together
    with `version`, name the prepared folder. It has the fields train, validation and test (numbers of examples; None:
    all) and, for random data, seed. A field declares its range. Raise `version` whenever an example changes.
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
    """The task's place in tables, a literal number. Tasks with equal numbers are sorted by name."""

    check: Callable[[Any], None] = _anything
    """Raises TaskError, in one line, for options that are within their ranges but do not fit together."""
    traits: Mapping[str, Callable[[np.ndarray], int]] = field(default_factory=dict)
    """Traits of difficulty besides length, by name: functions from one document's tokens to a whole number."""
    size: Callable[[Task, Any], int] = _largest
    """An upper bound on the bytes of the prepared tokens."""

    @property
    def dtype(self) -> np.dtype:
        """The smallest dtype for the tokens."""
        return np.dtype(np.uint8 if self.vocab <= 256 else np.uint16)

    def counts(self, options: Any) -> dict[str, Any]:
        """The number of examples in each split; None if it is unknown before the data is built."""
        return {split: getattr(options, split) for split in SPLITS}
