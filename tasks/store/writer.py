"""Writes the blocks of one split to the disk one by one, so that a task need not fit into memory."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import numpy as np

from tasks.base import ExampleBlock, Task


class SplitWriter:
    """Appends blocks to one split's folder; `finish` writes the index beside the tokens."""

    def __init__(self, folder: Path, task: Task) -> None:
        folder.mkdir(parents=True)
        self._dtype = task.dtype
        self._folder = folder
        self._towers = task.towers
        self._file = (folder / "tokens.bin").open("wb")
        self._lengths: list[np.ndarray] = [np.zeros(0, np.int64)]
        self._labels: list[np.ndarray] = [np.zeros(0, np.uint8)]
        self._examples: list[np.ndarray] = [np.zeros((0, task.towers), np.int64)]
        self._extras: dict[str, list[np.ndarray]] = {}
        self._documents = 0
        self._seen: dict[bytes, int] = {}  # digest of a document that examples name -> its number in the split

    def add(self, block: ExampleBlock) -> None:
        """Append one block."""
        tokens, lengths = np.ascontiguousarray(block.tokens, dtype=self._dtype), block.lengths.astype(np.int64)
        assert lengths.sum() == len(tokens), "lengths must cover the tokens"
        if block.examples is None:
            rows = self._documents + np.arange(len(lengths))[:, None]
        else:
            numbers, new = self._numbers(tokens, lengths)
            rows = numbers[block.examples]
            tokens, lengths = tokens[np.repeat(new, lengths)], lengths[new]
        assert rows.shape == (len(block.labels), self._towers), "examples must name one document a tower"
        self._file.write(tokens.data)
        self._lengths.append(lengths)
        self._labels.append(block.labels.astype(np.uint8))
        self._examples.append(rows)
        for name, array in block.extras.items():
            self._extras.setdefault(name, []).append(array)
        self._documents += len(lengths)

    def _numbers(self, tokens: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each document's number in the split, and the documents that are new."""
        ends = np.cumsum(lengths)
        numbers, new = np.zeros(len(lengths), np.int64), np.zeros(len(lengths), bool)
        following = self._documents
        for i, (start, end) in enumerate(zip(ends - lengths, ends, strict=True)):
            numbers[i] = self._seen.setdefault(blake2b(tokens[start:end].data, digest_size=16).digest(), following)
            new[i] = numbers[i] == following
            following += int(new[i])
        return numbers, new

    def finish(self) -> None:
        """Close the tokens and write lengths, labels, extras and, where they say anything, examples."""
        self._file.close()
        np.save(self._folder / "lengths.npy", _narrow(np.concatenate(self._lengths)))
        np.save(self._folder / "labels.npy", np.concatenate(self._labels))
        examples = np.concatenate(self._examples)
        if not np.array_equal(examples, np.arange(self._documents)[:, None]):
            np.save(self._folder / "examples.npy", _narrow(examples))
        (self._folder / "extras").mkdir()
        for name, arrays in self._extras.items():
            np.save(self._folder / "extras" / f"{name}.npy", np.concatenate(arrays))


def _narrow(array: np.ndarray) -> np.ndarray:
    """Non-negative numbers in the smallest dtype that fits, so that the index stays smaller than the documents."""
    return array.astype(np.min_scalar_type(array.max(initial=0)))
