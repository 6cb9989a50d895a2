"""Which accuracies are called different: worked by hand, and against SciPy's own Welch test."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from lra.scores.significance import Estimate, as_good_as_best, average, holm, of_runs, p_value

ONE, OTHER = [0.70, 0.74, 0.75], [0.66, 0.67, 0.69, 0.68]


def test_seeds_are_compared_by_welch() -> None:
    ours = p_value(of_runs(ONE, 2000), of_runs(OTHER, 2000))
    assert ours == pytest.approx(stats.ttest_ind(ONE, OTHER, equal_var=False)[1], rel=1e-12)


def test_one_seed_has_the_binomial_error_of_its_test_set() -> None:
    single = of_runs([0.8], 400)
    assert (single.error, single.freedom) == (pytest.approx(0.02), math.inf)
    z = 0.05 / math.hypot(0.02, math.sqrt(0.75 * 0.25 / 400))
    assert p_value(single, of_runs([0.75], 400)) == pytest.approx(2 * stats.norm.sf(z))


def test_one_seed_against_several_leaves_the_several_their_freedom() -> None:
    several, single = of_runs(ONE, 2000), of_runs([0.6], 10**9)
    t = abs(several.mean - 0.6) / several.error
    assert p_value(several, single) == pytest.approx(2 * stats.t.sf(t, 2), rel=1e-3)


def test_equal_seeds_are_not_taken_for_certainty() -> None:
    assert of_runs([0.5, 0.5], 100).error == pytest.approx(0.05)


def test_without_any_error_only_equal_means_are_equal() -> None:
    sure = Estimate(mean=1.0, error=0.0, freedom=math.inf)
    assert p_value(sure, sure) == 1
    assert p_value(sure, Estimate(mean=0.0, error=0.0, freedom=math.inf)) == 0


def test_holm_steps_down_and_stops() -> None:
    assert holm([0.02, 0.001, 0.04, 0.02], 0.05) == [False, True, False, False]  # 0.02 > 0.05 / 3
    assert holm([0.016, 0.001, 0.02, 0.04], 0.05) == [True, True, True, True]
    assert holm([], 0.05) == []


def test_the_family_wise_level_holds() -> None:
    """Of tables with eight equal mechanisms of three seeds at most 5 % call one worse, although luck picks the best."""
    rng = np.random.default_rng(0)
    tables, false = 600, 0
    for _ in range(tables):
        cells = [of_runs(list(rng.normal(0.7, 0.02, 3)), 2000) for _ in range(8)]
        false += not all(as_good_as_best(cells))
    assert false / tables < 0.05 + 3 * math.sqrt(0.05 * 0.95 / tables)


def test_the_best_and_what_is_near_it() -> None:
    cells = [of_runs([0.60], 2000), None, of_runs([0.75], 2000), of_runs([0.74], 2000)]
    assert as_good_as_best(cells) == [False, False, True, True]
    assert as_good_as_best([None, None]) == [False, False]


def test_an_average_carries_its_parts_errors() -> None:
    whole = average([of_runs(ONE, 2000), of_runs(OTHER, 2000)])
    one, other = stats.sem(ONE), stats.sem(OTHER)
    assert whole.error == pytest.approx(math.hypot(one, other) / 2)
    assert whole.freedom == pytest.approx((one**2 + other**2) ** 2 / (one**4 / 2 + other**4 / 3))
