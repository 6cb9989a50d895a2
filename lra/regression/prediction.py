"""Student's prediction bound on the accuracy of new seeds, given the seeds of a baseline.

Let n baseline accuracies have the mean m and the standard deviation s. Let k new ones come from the same normal
distribution. Their mean is below m − t(1 − level, n − 1) · s · √(1/k + 1/n) with probability `level` (Hahn and Meeker,
Statistical Intervals, 1991, chapter 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# scipy takes half a second to import, so each function imports it when it needs it.


@dataclass(frozen=True, kw_only=True)
class Expected:
    """The statistics of a baseline's seeds."""

    mean: float
    std: float
    """Standard deviation over the seeds, with n − 1."""
    n: int

    def error(self, k: int) -> float:
        """Standard error of the difference between the mean of k new seeds and the baseline's mean."""
        return self.std * math.sqrt(1 / k + 1 / self.n)

    def bound(self, k: int, level: float) -> float:
        """The bound below which the mean of k new seeds falls with probability `level` if nothing has changed."""
        from scipy.stats import t

        return self.mean - float(t.isf(level, self.n - 1)) * self.error(k)

    def p_value(self, found: float, k: int) -> float:
        """The probability of a mean of k new seeds as low as `found` if nothing has changed."""
        from scipy.stats import t

        if self.std == 0:
            return float(found >= self.mean)
        return float(t.cdf((found - self.mean) / self.error(k), self.n - 1))

    def smallest_loss(self, k: int, level: float, power: float) -> float:
        """The loss of accuracy that the test detects with probability `power`, with the spread over seeds as known.

        For a loss δ the statistic has a noncentral t distribution with noncentrality δ / error.
        """
        from scipy.optimize import brentq
        from scipy.stats import nct, t

        critical, freedom = float(t.isf(level, self.n - 1)), self.n - 1
        shift = brentq(lambda shift: float(nct.sf(critical, freedom, shift)) - power, 0.0, 10 * (critical + 1))
        return float(shift) * self.error(k)  # pyright: ignore[reportArgumentType] - brentq's stub knows several results


def at_most(alarms: int, runs: int, confidence: float = 0.95) -> float:
    """The upper bound of Clopper and Pearson (1934) on the rate of alarms, after `alarms` alarms in `runs` runs."""
    from scipy.stats import beta

    return 1.0 if alarms == runs else float(beta.ppf(confidence, alarms + 1, runs - alarms))
