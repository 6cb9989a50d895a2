"""The padded lengths of a batch. Half of the reviews are shorter than a quarter of the longest, and padding costs time.

Every mechanism ignores padding exactly. So a batch is sorted by length and cut into equal groups, and each group is
padded to its own size. The gradients of the groups add up to those of the batch. A framework that compiles for each
shape needs few sizes. They are chosen so that groups of random batches get as little padding as possible.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

SAMPLED_BATCHES = 200
GRAINS = 32  # sizes are multiples of about 1/32 of the greatest length


class Grouping(NamedTuple):
    """The costs and limits of groups and sizes, for a backend on its device."""

    groups: int
    """The most groups of a batch."""
    sizes: int | None
    """The most different sizes; None if a new shape costs nothing."""
    overhead: int = 0
    """The cost of one more group in every step, in tokens. The costs of groups add up."""
    compilation: int = 0
    """The cost of one more size, in tokens, paid once."""
    parallel: int = 1
    """Groups that are assumed to run at the same time. Not the number of cores: groups are the same on any machine."""
    devices: int = 1
    """Devices that share each group, with an equal number of examples each."""
    parts: int = 1
    """Parts of a batch, which are computed one after the other. The number of groups is a multiple of it."""

    @property
    def whole(self) -> Grouping:
        """The same without grouping by length: every example is padded to the longest."""
        return WHOLE._replace(devices=self.devices, parts=self.parts)


WHOLE = Grouping(groups=1, sizes=1)
"""No groups: every example is padded to the longest."""


@dataclass(frozen=True)
class Padding:
    """Batches are cut into `groups` equal groups, each padded to one of `sizes` (ascending, in tokens)."""

    groups: int
    sizes: tuple[int, ...]

    def size_of(self, needs: Int[np.ndarray, "*shape"]) -> Int[np.ndarray, "*shape"]:
        """The index of the smallest size that holds this many tokens."""
        return np.searchsorted(self.sizes, needs)


def plan_padding(needs: Int[np.ndarray, " m"], longest: int, batch: int, steps: int, grouping: Grouping) -> Padding:
    """The groups and sizes at which a run costs least, by the costs of the backend.

    `needs` has the tokens of each training example's longest document. No example of any split needs more than
    `longest`.
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
    """A padding with this many groups and at most this many sizes, and the mean tokens of a padded batch."""
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
    """At most `most` of the values, the last among them, so that rounding every value up to a chosen one adds least.

    By dynamic programming: costs[j] is the cost of the values up to j if j is chosen, with one more choice each round.
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
