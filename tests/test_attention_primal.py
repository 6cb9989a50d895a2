"""Primal attention's second output, its penalty: the reference's, and of each example by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, Inputs, draw

from attention_impls.primal import PROJECTION_E, PROJECTION_R, Options

CASE = Case("primal", Options(rank=5, rank_multiple=3))
LENGTHS = (37, 0, 1, 20)


def penalty(framework: str, inputs: Inputs) -> np.ndarray:
    """What `attend` adds to the loss of each example."""
    mechanism = CASE.mechanism
    keywords: dict[str, Any] = {"constants": {}, "options": CASE.options, "dims": inputs.dims}
    if framework == "reference":
        attend = mechanism.reference()
        return attend(*inputs.arrays.values(), lengths=inputs.lengths, params=inputs.params, **keywords)[1]
    if framework == "torch":
        torch = pytest.importorskip("torch")
        given, params = (
            [torch.tensor(array) for array in arrays.values()] for arrays in (inputs.arrays, inputs.params)
        )
        lengths = torch.tensor(inputs.lengths)
        named = dict(zip(inputs.params, params, strict=True))
        return mechanism.attend("torch")(*given, lengths=lengths, params=named, **keywords)[1].numpy()
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        given, params, lengths = jax.tree.map(
            jax.numpy.asarray, (list(inputs.arrays.values()), inputs.params, inputs.lengths)
        )
        return np.asarray(mechanism.attend("jax")(*given, lengths=lengths, params=params, **keywords)[1])


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_penalty_is_that_of_the_reference(framework: str) -> None:
    inputs = draw(CASE, 37, LENGTHS)
    expected = penalty("reference", inputs)
    assert expected[1] == 0
    assert expected[[0, 2, 3]].min() > 0
    np.testing.assert_allclose(penalty(framework, inputs), expected, rtol=1e-12)


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_the_penalty_knows_neither_padding_nor_neighbours(framework: str) -> None:
    inputs = draw(CASE, 37, LENGTHS)
    together = penalty(framework, inputs)
    np.testing.assert_allclose(penalty(framework, inputs.padded_to(64, 1e4)), together, rtol=1e-12)
    for i in range(len(LENGTHS)):
        np.testing.assert_allclose(penalty(framework, inputs.of(slice(i, i + 1))), together[i : i + 1], rtol=1e-12)


def test_the_penalty_is_eta_times_the_square_of_the_trace_where_nothing_is_projected() -> None:
    start = draw(CASE, 37, LENGTHS)
    inputs = replace(start, arrays=start.arrays | {"x": np.zeros_like(start.arrays["x"])})
    traces = [np.trace(e.T @ r) for e, r in zip(start.params[PROJECTION_E], start.params[PROJECTION_R], strict=True)]
    expected = CASE.options.eta * np.mean(traces) ** 2
    np.testing.assert_allclose(penalty("torch", inputs), [expected, 0, expected, expected], rtol=1e-12)


def test_the_projections_start_orthonormal() -> None:
    for options, heads in ((Options(rank=5, rank_multiple=3), 4), (Options(rank=1, rank_multiple=2), 4)):
        drawn = draw(Case("primal", options), 5, None).params[PROJECTION_E]
        assert drawn.shape == (heads, options.rank * options.rank_multiple, options.rank)
        flat = drawn.reshape(heads, -1)
        gram = flat @ flat.T if flat.shape[0] <= flat.shape[1] else flat.T @ flat
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-12)
