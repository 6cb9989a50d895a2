"""How long a batch's rows are: half of the reviews are under a quarter of the longest, and padding is work.

Every mechanism ignores padding exactly, so a batch may be sorted by length and cut into equal groups, each padded
only to a size of its own; their gradients add up to the batch's. A framework that compiles once a shape wants few
sizes: these are chosen so that the groups of batches drawn at random get as little padding as possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

SAMPLED_BATCHES = 200
GRAINS = 32  # sizes are multiples of about a 32nd of the greatest length


class Grouping(NamedTuple):
    """What suits a backend on its device."""

    groups: int
    """Groups of a batch, at most."""
    sizes: int | None
    """Different sizes, at most; None where a new shape costs nothing."""
    overhead: int = 0
    """What one more group costs in every step, in tokens; groups pay it one after the other."""
    compilation: int = 0
    """What one more size costs once, in tokens."""
    parallel: int = 1
    """Groups that are reckoned to be computed at a time. Not the number of cores: a run is cut alike everywhere."""
    devices: int = 1
    """That share each group, an equal number of examples each."""
    parts: int = 1
    """Of a batch, which are computed one after the other: so many, or a multiple, are the groups."""

    @property
    def whole(self) -> Grouping:
        """The same without grouping by length: every example padded to the longest of all."""
        return WHOLE._replace(devices=self.devices, parts=self.parts)


WHOLE = Grouping(groups=1, sizes=1)
"""Every example padded to the longest of all."""


@dataclass(frozen=True)
class Padding:
    """Batches are cut into `groups` equal groups, each padded to one of `sizes` (ascending, in tokens)."""

    groups: int
    sizes: tuple[int, ...]

    def size_of(self, needs: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """Which of the sizes holds so many tokens."""
        return np.searchsorted(self.sizes, needs)


def plan_padding(needs: Int[np.ndarray, " m"], longest: int, batch: int, steps: int, grouping: Grouping) -> Padding:
    """The groups and sizes that make a run of so many steps cheapest, by the backend's own account of what costs.

    needs: tokens of each training example's longest document; no example of any split needs more than `longest`.
    """
    parts, devices = grouping.parts, grouping.devices
    if grouping == grouping.whole:
        return Padding(parts, (longest,))
    batches = np.sort(np.random.default_rng(0).choice(needs, (SAMPLED_BATCHES, batch)), 1)
    most = grouping.sizes or 1
    tried = [
        _cut(batches, groups, longest, None if grouping.sizes is None else sizes)
        for groups in range(parts, min(max(grouping.groups, parts), batch) + 1, parts)
        for sizes in range(1, most + 1)
        if batch % (groups * devices) == 0
    ]

    def cost(cut: tuple[float, Padding]) -> float:
        tokens, padding = cut
        at_once = min(padding.groups // parts, grouping.parallel)
        work = tokens / devices / at_once + padding.groups * grouping.overhead
        return steps * work + len(padding.sizes) * grouping.compilation

    return min(tried, key=cost)[1]


def _cut(batches: Int[np.ndarray, "S B"], groups: int, longest: int, most: int | None) -> tuple[float, Padding]:
    """Sorted batches in so many groups, padded to the best of at most so many sizes; and the tokens of a batch then."""
    grain = max(8, 2 ** round(np.log2(longest / GRAINS)))
    per_group = batches.shape[1] // groups
    of_groups = batches[:, per_group - 1 :: per_group].ravel()
    if most is None:
        shortest = -(-int(of_groups.min()) // grain) * grain
        sizes = (*range(shortest, longest, grain), longest)
    else:
        rounded = np.minimum(-(-of_groups // grain) * grain, longest)
        values, counts = np.unique(np.append(rounded, longest), return_counts=True)
        sizes = _best_sizes(values, counts, most)
    padding = Padding(groups, sizes)
    return float(np.array(sizes)[padding.size_of(of_groups)].mean() * batches.shape[1]), padding


def _best_sizes(values: Int[np.ndarray, " v"], counts: Int[np.ndarray, " v"], most: int) -> tuple[int, ...]:
    """At most `most` of the values, the last among them, so that rounding each one up to a chosen one adds least.

    By dynamic programming: costs[j] is that of the values up to j, with j chosen and as many others as rounds so far.
    """
    upto = np.concatenate([[0], np.cumsum(counts)])
    costs: Float[np.ndarray, " v"] = values * upto[1:].astype(float)
    chosen = [[int(value)] for value in values]
    for _ in range(most - 1):
        before = range(len(values))
        step = np.array([[costs[i] + values[j] * (upto[j + 1] - upto[i + 1]) for i in before] for j in before])
        step[np.triu_indices(len(values))] = np.inf
        best = step.argmin(1)
        better = step.min(1) < costs
        chosen = [[*chosen[best[j]], int(values[j])] if better[j] else chosen[j] for j in before]
        costs = np.where(better, step.min(1), costs)
    return tuple(chosen[-1])
