"""Comparisons example by example: accuracy by traits of examples, and McNemar's test of two runs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from lra.training.record import standard_error

BINS = 8


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A group of examples with similar values of one trait."""

    low: int
    high: int
    """The least and the greatest value in the group."""
    middle: float
    """The median value."""
    examples: int
    accuracy: float

    @property
    def error(self) -> float:
        """Binomial standard error of the accuracy."""
        return standard_error(self.accuracy, self.examples)


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two runs on the same examples."""

    first_only: int
    """Number of examples that are right in the first only."""
    second_only: int
    examples: int
    p: float
    """Two-sided p of McNemar's exact test that both are right equally often."""

    @property
    def difference(self) -> float:
        """Accuracy of the first minus that of the second."""
        return (self.first_only - self.second_only) / self.examples

    @property
    def error(self) -> float:
        """Standard error of the difference, of paired examples."""
        differing = (self.first_only + self.second_only) / self.examples
        return float(np.sqrt((differing - self.difference**2) / self.examples))


def bins(correct: Bool[np.ndarray, " n"], trait: Int[np.ndarray, " n"], most: int = BINS) -> list[Bin]:
    """Groups of about equal size, by increasing trait. Examples with equal values stay together."""
    values, counts = np.unique(trait, return_counts=True)
    before = np.cumsum(counts) - counts
    group_of_value = before * most // len(trait)
    found = []
    for group in np.unique(group_of_value):
        members = np.isin(trait, values[group_of_value == group])
        own = trait[members]
        found.append(
            Bin(
                low=int(own.min()),
                high=int(own.max()),
                middle=float(np.median(own)),
                examples=int(members.sum()),
                accuracy=float(correct[members].mean()),
            )
        )
    return found


def mcnemar(first: Bool[np.ndarray, " n"], second: Bool[np.ndarray, " n"]) -> Paired:
    """McNemar's exact test: of the examples that one run alone has right, each run should have about half."""
    from scipy.stats import binomtest  # takes half a second to import, so it is imported late

    one, other = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(one, one + other).pvalue) if one + other else 1.0
    return Paired(first_only=one, second_only=other, examples=len(first), p=p)
