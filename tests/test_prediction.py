"""The bound is broken as often as its level says, a loss is caught as often as its power says."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from lra.regression.prediction import Expected, at_most

TRIALS = 20_000


def simulated(n: int, k: int, lost: float, level: float) -> float:
    """How often the mean of k new normal draws, lower by `lost` standard deviations, is below its baseline's bound."""
    rng = np.random.default_rng(n + k)
    old = rng.standard_normal((TRIALS, n))
    new = rng.standard_normal((TRIALS, k)).mean(1) - lost
    unit = Expected(mean=0.0, std=1.0, n=n)  # the bound lies as many standard deviations below every baseline's mean
    return float((new < old.mean(1) + old.std(1, ddof=1) * unit.bound(k, level)).mean())


@pytest.mark.parametrize(("n", "k"), [(8, 1), (12, 3)])
def test_unchanged_code_is_called_a_loss_at_the_level(n: int, k: int) -> None:
    assert simulated(n, k, 0.0, 0.05) == pytest.approx(0.05, abs=4 * (0.05 * 0.95 / TRIALS) ** 0.5)


@pytest.mark.parametrize(("n", "k", "power"), [(8, 1, 0.8), (12, 3, 0.9)])
def test_the_smallest_loss_is_caught_with_its_power(n: int, k: int, power: float) -> None:
    lost = Expected(mean=0.0, std=1.0, n=n).smallest_loss(k, 0.01, power)
    assert simulated(n, k, lost, 0.01) == pytest.approx(power, abs=4 * (power * (1 - power) / TRIALS) ** 0.5)


def test_the_p_value_at_the_bound_is_the_level() -> None:
    expected = Expected(mean=0.47, std=0.01, n=12)
    assert expected.p_value(expected.bound(3, 0.01), 3) == pytest.approx(0.01)
    assert expected.p_value(0.47, 3) == pytest.approx(0.5)


def test_equal_seeds_leave_no_room() -> None:
    expected = Expected(mean=0.5, std=0.0, n=8)
    assert expected.p_value(0.5, 1) == 1.0
    assert expected.p_value(0.499, 1) == 0.0


@pytest.mark.parametrize(("alarms", "runs"), [(0, 20), (2, 20), (1, 60)])
def test_the_rate_bound_makes_so_few_alarms_improbable(alarms: int, runs: int) -> None:
    assert binom.cdf(alarms, runs, at_most(alarms, runs)) == pytest.approx(0.05)


def test_nothing_bounds_a_rate_that_was_always_seen() -> None:
    assert at_most(20, 20) == 1.0
