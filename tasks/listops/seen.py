"""The set of expressions that were drawn before, by their digests."""

from __future__ import annotations

import numpy as np

BYTES = 16  # of a digest: among 10^9 expressions two different ones share one with a chance of 10^-21


class Seen:
    """A set of digests: BYTES for each that is kept, and three times as many while its arrays are joined.

    Sorted arrays, each at least twice as long as the next one. A new one is joined with those that are no longer than
    itself, so each digest is moved about log2(n) times.
    """

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []  # (2, n): the first halves, sorted, and the second halves

    def __len__(self) -> int:
        return sum(part.shape[1] for part in self._parts)

    def new(self, digests: bytes) -> np.ndarray:
        """Which of the digests (n · BYTES,) were never added and do not stand among these before: (n,) bool."""
        halves = _halves(digests)
        order = np.lexsort(halves)  # equal ones stay in their order
        ordered, first = halves[:, order], np.ones(halves.shape[1], bool)
        first[order[1:][(ordered[:, 1:] == ordered[:, :-1]).all(axis=0)]] = False
        for part in self._parts:
            first &= ~_within(part, halves)
        return first

    def add(self, digests: bytes, chosen: np.ndarray) -> None:
        """Keep those of the digests (n · BYTES,) that are `chosen` (n,) and new."""
        if not chosen.any():
            return
        joined = _sorted(_halves(digests)[:, chosen])
        while self._parts and self._parts[-1].shape[1] < 2 * joined.shape[1]:
            joined = _sorted(np.concatenate([self._parts.pop(), joined], axis=1))
        self._parts.append(joined)


def _halves(digests: bytes) -> np.ndarray:
    return np.frombuffer(digests, np.uint64).reshape(-1, 2).T


def _sorted(halves: np.ndarray) -> np.ndarray:
    return halves[:, np.argsort(halves[0], kind="stable")]


def _within(part: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Which of the halves (2, n) stand in the sorted ones: (n,) bool. Different digests may share their first half."""
    found, place = np.zeros(halves.shape[1], bool), np.searchsorted(part[0], halves[0])
    while True:
        inside = np.minimum(place, part.shape[1] - 1)
        alike = (place < part.shape[1]) & (part[0, inside] == halves[0])
        if not alike.any():
            return found
        found |= alike & (part[1, inside] == halves[1])
        place = place + 1
