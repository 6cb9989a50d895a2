"""The arithmetic of timings: spread, stability, growth with length, and the crossing of two curves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

# pyperf's rules for results that may be unstable.
SPREAD = 0.1  # standard deviation over mean
OUTLIER = 0.5  # distance of an extreme sample from the mean, over the mean
SHORTEST = 1e-3  # seconds of a raw sample


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and quartiles."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One example's seconds or bytes, by length."""

    lengths: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float, ...] = ()
    """Lower quartile of each value; empty with a single sample."""
    high: tuple[float, ...] = ()

    @property
    def exponent(self) -> float | None:
        """The exponent p of value ∝ length^p; None for a single length."""
        return exponent(self.lengths, self.values)

    def at(self, length: float) -> float:
        """The value at any length between measured ones, interpolated between logarithms."""
        return math.exp(np.interp(math.log(length), np.log(self.lengths), np.log(self.values)))


@dataclass(frozen=True, kw_only=True)
class Crossover:
    """The length from which one mechanism is faster than another."""

    kind: Literal["at", "below", "above"]
    """at: at this length; below: at or below the shortest timed length; above: above the longest, or never."""
    length: float


def spread(values: list[float]) -> Spread:
    """Median and quartiles, linear between samples."""
    low, median, high = np.percentile(values, (25, 50, 75))
    return Spread(median=float(median), low=float(low), high=float(high))


def unstable(seconds: list[float], shortest: float) -> list[str]:
    """Pyperf's warnings about the seconds of one step and the shortest sample; empty without a warning."""
    if len(seconds) < 2:
        return ["a single sample says nothing about its spread"]
    mean, deviation = float(np.mean(seconds)), float(np.std(seconds, ddof=1))
    found = []
    if deviation >= SPREAD * mean:
        found.append(f"the standard deviation is {deviation / mean:.0%} of the mean")
    for name, value in (("fastest", min(seconds)), ("slowest", max(seconds))):
        if abs(value - mean) >= OUTLIER * mean:
            found.append(f"the {name} sample is {abs(value - mean) / mean:.0%} off the mean")
    if shortest < SHORTEST:
        found.append(f"the shortest sample took {shortest * 1e3:.2g} ms, less than 1 ms")
    return found


def exponent(lengths: Sequence[int], values: Sequence[float]) -> float | None:
    """The exponent p of value ∝ length^p by least squares on logarithms. None for one length or a value of zero."""
    if len(lengths) < 2 or min(values) <= 0:
        return None
    return float(np.polyfit(np.log(lengths), np.log(values), 1)[0])


def crossover(ours: Curve, theirs: Curve) -> Crossover | None:
    """The length from which `ours` takes less time than `theirs`. None without a common length.

    Between two common lengths the logarithms of the curves are interpolated linearly.
    """
    mine, other = (dict(zip(curve.lengths, curve.values, strict=True)) for curve in (ours, theirs))
    lengths = sorted(mine.keys() & other.keys())
    if not lengths:
        return None
    gap = [math.log(mine[n] / other[n]) for n in lengths]
    if gap[-1] >= 0:
        return Crossover(kind="above", length=float(lengths[-1]))
    if max(gap) < 0:
        return Crossover(kind="below", length=float(lengths[0]))
    i = max(place for place, each in enumerate(gap) if each >= 0)
    share = gap[i] / (gap[i] - gap[i + 1])
    length = math.exp(math.log(lengths[i]) + share * math.log(lengths[i + 1] / lengths[i]))
    return Crossover(kind="at", length=length)
