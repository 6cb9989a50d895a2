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
    """What one more group costs, in tokens of a group."""


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


def plan_padding(needs: Int[np.ndarray, " m"], longest: int, batch: int, grouping: Grouping) -> Padding:
    """The groups and sizes for training examples that need so many tokens; no example needs more than `longest`."""
    if grouping == WHOLE or (needs == longest).all():
        return Padding(1, (longest,))
    grain = max(8, 2 ** round(np.log2(longest / GRAINS)))
    batches = np.sort(np.random.default_rng(0).choice(needs, (SAMPLED_BATCHES, batch)), 1)
    tried = [number for number in range(1, min(grouping.groups, batch) + 1) if batch % number == 0]
    plans = [_cut(batches, groups, longest, grain, grouping) for groups in tried]
    return min(plans, key=lambda plan: plan[0])[1]


def _cut(
    batches: Int[np.ndarray, "S B"], groups: int, longest: int, grain: int, grouping: Grouping
) -> tuple[float, Padding]:
    """What a batch costs on average, in tokens, if it is cut into so many groups; and how."""
    per_group = batches.shape[1] // groups
    of_groups = batches[:, per_group - 1 :: per_group].ravel()
    rounded = np.minimum(-(-of_groups // grain) * grain, longest)
    if grouping.sizes is None:
        sizes = (*range(grain, longest, grain), longest)
    else:
        values, counts = np.unique(np.append(rounded, longest), return_counts=True)
        sizes = _best_sizes(values, counts, grouping.sizes)
    padding = Padding(groups, sizes)
    tokens = np.array(sizes)[padding.size_of(of_groups)].mean() * batches.shape[1]
    return float(tokens + groups * grouping.overhead), padding


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
