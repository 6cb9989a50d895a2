"""Significance of differences: Welch's t test over seeds, the binomial error for one seed, Holm for several tests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from lra.training.record import standard_error

LEVEL = 0.05  # chance of calling any cell of a column worse than the best, if none is worse


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean with its error."""

    mean: float
    error: float
    """Standard error of the mean."""
    freedom: float
    """Degrees of freedom of `error`; infinite for the binomial error of the test set."""


def of_runs(accuracies: Sequence[float], examples: int) -> Estimate:
    """The mean over seeds, with the error from their spread.

    One seed, or equal seeds, have no spread. Then the error is the binomial one of a test set with `examples` examples.
    """
    mean = fmean(accuracies)
    spread = variance(accuracies) if len(accuracies) > 1 else 0.0
    if spread == 0:
        return Estimate(mean=mean, error=standard_error(mean, examples), freedom=math.inf)
    return Estimate(mean=mean, error=math.sqrt(spread / len(accuracies)), freedom=float(len(accuracies) - 1))


def average(parts: Sequence[Estimate]) -> Estimate:
    """The mean of independent estimates, with Welch and Satterthwaite's degrees of freedom."""
    error = math.hypot(*(part.error for part in parts)) / len(parts)
    return Estimate(mean=fmean(part.mean for part in parts), error=error, freedom=_freedom(parts))


def p_value(one: Estimate, other: Estimate) -> float:
    """Two-sided p of equal means: Welch's t test, or the normal test if both errors are binomial.

    Errors are assumed to be independent. Runs on one test set share its examples, so the test is conservative.
    """
    from scipy.stats import t  # takes half a second to import, so it is imported late

    error = math.hypot(one.error, other.error)
    if error == 0:
        return float(one.mean == other.mean)
    return float(2 * t.sf(abs(one.mean - other.mean) / error, _freedom([one, other])))


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[bool]:
    """The hypotheses that Holm's step-down procedure rejects at this family-wise level."""
    rejected = [False] * len(p_values)
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if p_values[index] > level / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def as_good_as_best(estimates: Sequence[Estimate | None]) -> list[bool]:
    """Which cells of a column the data cannot distinguish from the best one: True for the best, False for None."""
    present = [index for index, each in enumerate(estimates) if each is not None]
    good = [False] * len(estimates)
    if not present:
        return good
    best = max(present, key=lambda index: _given(estimates[index]).mean)
    others = [index for index in present if index != best]
    worse = holm([p_value(_given(estimates[best]), _given(estimates[index])) for index in others])
    for index, told_apart in zip([best, *others], [False, *worse], strict=True):
        good[index] = not told_apart
    return good


def _freedom(parts: Sequence[Estimate]) -> float:
    """Degrees of freedom of a sum of estimates (Welch–Satterthwaite)."""
    whole = sum(part.error**2 for part in parts) ** 2
    shares = sum(part.error**4 / part.freedom for part in parts)
    return whole / shares if shares else math.inf


def _given(estimate: Estimate | None) -> Estimate:
    assert estimate is not None
    return estimate
