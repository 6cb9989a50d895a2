"""What chance can explain: Student's bound on the accuracy of new seeds, given the seeds of a baseline.

With n baseline accuracies of mean m and standard deviation s, the mean of k new ones from the same normal distribution
lies below m − t(1 − level, n − 1) · s · √(1/k + 1/n) with probability `level` (Hahn and Meeker, Statistical Intervals,
1991, chapter 4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

# scipy takes half a second, which --help does without: each function imports what it uses.


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the seeds of a baseline scored."""

    mean: float
    std: float
    """Standard deviation over the seeds, with n − 1."""
    n: int

    def error(self, k: int) -> float:
        """Standard error of the distance between the mean of k new seeds and the baseline's."""
        return self.std * math.sqrt(1 / k + 1 / self.n)

    def bound(self, k: int, level: float) -> float:
        """What the mean of k new seeds falls below with probability `level` where nothing has changed."""
        from scipy.stats import t

        return self.mean - float(t.isf(level, self.n - 1)) * self.error(k)

    def p_value(self, found: float, k: int) -> float:
        """The probability of a mean of k new seeds as low as `found` where nothing has changed."""
        from scipy.stats import t

        if self.std == 0:
            return float(found >= self.mean)
        return float(t.cdf((found - self.mean) / self.error(k), self.n - 1))

    def smallest_loss(self, k: int, level: float, power: float) -> float:
        """The loss of accuracy that is called one with probability `power`, the spread over seeds taken as known.

        The statistic of a loss δ is noncentral t with noncentrality δ / error.
        """
        from scipy.optimize import brentq
        from scipy.stats import nct, t

        critical, freedom = float(t.isf(level, self.n - 1)), self.n - 1
        shift = brentq(lambda shift: float(nct.sf(critical, freedom, shift)) - power, 0.0, 10 * (critical + 1))
        return float(shift) * self.error(k)  # pyright: ignore[reportArgumentType] - brentq's stub knows several results


def at_most(alarms: int, runs: int, confidence: float = 0.95) -> float:
    """The upper bound of Clopper and Pearson (1934) on the rate of alarms, after `alarms` of them in so many runs."""
    from scipy.stats import beta

    return 1.0 if alarms == runs else float(beta.ppf(confidence, alarms + 1, runs - alarms))
