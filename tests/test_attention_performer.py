"""Performer's estimate: its error against softmax falls as 1/√m, and its projections are what the proof needs."""

from __future__ import annotations

import numpy as np
import pytest
from attention_cases import Case, draw, error, output, reference

from attention_impls import performer, softmax
from attention_impls.base import Dims, Layer
from attention_impls.performer.reference import attend
from attention_impls.softmax.reference import attend as exact_attend
from lra.core.config import mechanism_options
from lra.core.errors import UserError

DIMS = Dims(heads=1, head_dim=8, width=8, max_length=16)


def error_against_softmax(features: int, rng: np.random.Generator, draws: int) -> float:
    """Root of the mean squared error of the output, over `draws` projections, for one small input."""
    options = performer.Options(features=features)
    q, k, v = (scale * np.random.default_rng(0).normal(size=(1, 16, 1, 8)) for scale in (0.3, 0.3, 1.0))
    exact = exact_attend(q, k, v, Layer(params={}, constants={}, options=softmax.Options(), dims=DIMS))
    squares = []
    for _ in range(draws):
        constants = performer.constants(options, DIMS, rng)
        found = attend(q, k, v, Layer(params={}, constants=constants, options=options, dims=DIMS))
        squares.append(np.mean((found - exact) ** 2))
    return float(np.sqrt(np.mean(squares)))


def test_the_error_falls_with_the_root_of_the_features() -> None:
    rng = np.random.default_rng(1)
    features = 2 ** np.arange(5, 11)
    errors = [error_against_softmax(int(m), rng, draws=100) for m in features]
    exponent = np.polyfit(np.log(features), np.log(errors), 1)[0]
    # Over seeds the fitted exponent has a standard deviation of 0.01.
    assert abs(exponent + 0.5) < 0.04


def test_projections_are_orthogonal_in_blocks_and_uniform() -> None:
    blocks = 2000
    drawn = performer.constants(performer.Options(features=8 * blocks), DIMS, np.random.default_rng(2))
    projection = drawn[performer.PROJECTION]
    first = projection[:8] @ projection[:8].T
    np.testing.assert_allclose(first, np.diag(np.diag(first)), atol=1e-12)
    # Entries of N(0, 1): the mean over the blocks of each place in a block is within 5 deviations of 0, 1/√blocks each.
    places = projection.reshape(blocks, 8, 8)
    assert np.abs(places.mean(0)).max() < 5 / np.sqrt(blocks)
    # Squares have mean 1 and variance 2.
    assert np.abs((places**2).mean(0) - 1).max() < 5 * np.sqrt(2 / blocks)


def test_a_last_block_that_is_not_full_is_cut() -> None:
    drawn = performer.constants(performer.Options(features=11), DIMS, np.random.default_rng(3))
    assert drawn[performer.PROJECTION].shape == (11, 8)


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_epsilon_is_what_is_added_to_softmax_features(backend: str) -> None:
    usual, large = (Case("performer", performer.Options(features=8, epsilon=each)) for each in (1e-6, 0.1))
    inputs = draw(large, 5, None, batch=1)
    assert error(reference(usual, inputs), reference(large, inputs)) > 0.01
    assert error(output(large, backend, inputs), reference(large, inputs)) < 1e-9


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
def test_an_epsilon_that_is_not_positive_is_refused(value: float) -> None:
    with pytest.raises(UserError, match=f"epsilon is {value}, expected"):
        mechanism_options("performer", {"epsilon": value})
