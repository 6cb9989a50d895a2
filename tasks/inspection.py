"""Facts about prepared examples beyond their counts: balance of labels, lengths, and overlaps of splits."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from itertools import combinations

import numpy as np

from tasks.base import SPLITS, Split, Task


def summary(task: Task, splits: Mapping[str, Split]) -> list[str]:
    """Lines of text: size, labels and lengths of each split, repeated examples, examples in two splits."""
    digests = {name: example_digests(splits[name]) for name in SPLITS}
    lines = [f"{name}: {_describe(task, splits[name], digests[name])}" for name in SPLITS]
    lines += [f"in {a} and {b}: {len(shared(digests[a], digests[b])):,} examples" for a, b in combinations(SPLITS, 2)]
    if task.towers > 1:
        documents = {name: document_digests(splits[name]) for name in SPLITS}
        lines += [
            f"in {a} and {b}: {len(shared(documents[a], documents[b])):,} documents" for a, b in combinations(SPLITS, 2)
        ]
    return lines


def document_digests(split: Split) -> np.ndarray:
    """(documents,) digests of 16 bytes of each document's tokens."""
    found = [blake2b(split.document(i).tobytes(), digest_size=16).digest() for i in range(len(split.offsets) - 1)]
    return np.array(found, "V16")


def example_digests(split: Split) -> np.ndarray:
    """(n,) digests of each example's tokens, of 16 bytes, or 32 for two towers."""
    rows = document_digests(split)[split.examples]
    return np.ascontiguousarray(rows).view(f"V{16 * rows.shape[1]}")[:, 0]


def shared(a: np.ndarray, b: np.ndarray) -> set[bytes]:
    """The digests that both sides have."""
    return set(a.tolist()) & set(b.tolist())


def _describe(task: Task, split: Split, digests: np.ndarray) -> str:
    labels = "/".join(f"{count:,}" for count in np.bincount(split.labels, minlength=task.classes))
    lengths = np.diff(split.offsets)
    low, middle, high = (int(value) for value in np.quantile(lengths, (0, 0.5, 1), method="nearest"))
    length = f"length {low:,}" if low == high else f"lengths {low:,} to {high:,}, median {middle:,}"
    repeats = len(digests) - len(set(digests.tolist()))
    repeated = f", {repeats:,} repeated" if repeats else ""
    return f"{len(split):,} examples{repeated}, labels {labels}, {length}"
