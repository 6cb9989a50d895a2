"""Mega: its moving average is a recurrence, what chunks see, the Laplace weights, the stream, the authors' counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, cotangent_for, dims_for, draw, error, gradients, output

from attention_impls import mega
from attention_impls.mega import ALPHA, BETA, CARD, DELTA, GAMMA, POSITIONS, Options

BACKENDS = ("torch", "jax")


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def kernels(backend: str, params: dict[str, np.ndarray], tokens: int, lags: int) -> np.ndarray:
    """Those of both directions, (2, C, tokens), in float64."""
    pytest.importorskip(backend)
    x = np.zeros((1, tokens, params[ALPHA].shape[1]))
    if backend == "torch":
        import torch

        from attention_impls.mega.torch_impl import _kernels as of_torch

        given = {name: torch.tensor(array) for name, array in params.items()}
        return of_torch(given, torch.tensor(x), lags).numpy()
    import jax
    import jax.numpy as jnp

    from attention_impls.mega.jax_impl import _kernels as of_jax

    with jax.enable_x64(True):
        return np.asarray(of_jax({name: jnp.asarray(array) for name, array in params.items()}, jnp.asarray(x), lags))


@pytest.mark.parametrize(("tokens", "lags"), [(1, 1), (200, 200), (200, 70)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_moving_average_is_its_recurrence(backend: str, tokens: int, lags: int) -> None:
    """What an impulse leaves behind in u ← q u + p β x, read by γ / √h; nothing from the last lag on."""
    params = CARD.params(Options(order=5), dims_for(64, heads=1, head_dim=3), np.random.default_rng(0))
    share = sigmoid(params[DELTA])
    state, expected = share * params[BETA], np.zeros((2, 3, tokens))
    for lag in range(lags):
        expected[..., lag] = (params[GAMMA] * state).sum(2) / np.sqrt(5)
        state = (1 - share * sigmoid(params[ALPHA])) * state
    np.testing.assert_allclose(kernels(backend, params, tokens, lags), expected, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_chunks_see_their_own_tokens_and_the_average_all(backend: str) -> None:
    """Without an average beyond its own token, a token of the second chunk changes nothing in the first."""
    options = Options(chunk=8, hidden=6, shared=4, order=2, lags=1, std=0.5)
    changed: list[Any] = []
    for each in (options, replace(options, lags=0), replace(options, chunk=0)):
        inputs = draw(Case("mega", each), 16, None, dims=dims_for(16, heads=1, head_dim=8))
        moved = {name: array.copy() for name, array in inputs.arrays.items()}
        moved["x"][:, 12] += 1
        before, after = (output(Case("mega", each), backend, replace(inputs, arrays=a)) for a in (inputs.arrays, moved))
        changed.append(np.abs(after - before)[:, :8].max())
    assert changed[0] < 1e-14
    assert min(changed[1:]) > 1e-6


def test_a_chunk_as_long_as_the_sequence_is_the_whole_attention() -> None:
    pytest.importorskip("torch")
    for weights in ("softmax", "laplace"):
        whole = Case("mega", Options(weights=weights, hidden=6, shared=4, order=2, std=0.5))
        chunked = Case("mega", replace(whole.options, chunk=64))
        inputs = draw(whole, 64, (64, 41))
        assert error(output(chunked, "torch", inputs), output(whole, "torch", inputs)) < 1e-12


def test_the_laplace_weight_touches_the_square_where_it_is_steepest() -> None:
    """μ and σ are those with which value and slope are those of x², at x = μ."""
    from scipy.special import erf

    def laplace(x: float) -> float:
        return (1 + erf((x - mega.MEAN) / (mega.SPREAD * np.sqrt(2)))) / 2

    assert laplace(mega.MEAN) == pytest.approx(mega.MEAN**2)
    slope = (laplace(mega.MEAN + 1e-6) - laplace(mega.MEAN - 1e-6)) / 2e-6
    assert slope == pytest.approx(2 * mega.MEAN, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gate_is_between_the_stream_and_the_candidate(backend: str) -> None:
    """In the layer's sum, stream + O, the stream has the weight 1 − u. Where no stream is given it is x."""
    case = Case("mega", CARD.variants[1])
    inputs = draw(case, 37, None)
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs))
    gate = -grads["residual"].reshape(out.shape) / cotangent_for(inputs)
    assert ((gate > 0) & (gate < 1)).all()
    raised = replace(inputs, arrays=inputs.arrays | {"residual": inputs.arrays["residual"] + 1})
    np.testing.assert_allclose(output(case, backend, raised) - out, -gate, atol=1e-9)
    alone = replace(inputs, arrays={"x": inputs.arrays["x"]})
    own = replace(inputs, arrays={"x": inputs.arrays["x"], "residual": inputs.arrays["x"]})
    np.testing.assert_array_equal(output(case, backend, alone), output(case, backend, own))


@pytest.mark.parametrize(
    ("width", "hidden", "shared", "depth", "longest", "millions"),
    [(80, 160, 64, 6, 2000, 0.60), (160, 320, 96, 8, 1024, 2.83)],
)
def test_parameters_are_counted_as_the_authors(
    width: int, hidden: int, shared: int, depth: int, longest: int, millions: float
) -> None:
    """ListOps and Image: with the norms and the feed-forward layer of a block, and an embedding and a head of 1 %."""
    dims = dims_for(longest, heads=1, head_dim=width)
    params = CARD.params(Options(shared=shared), dims, np.random.default_rng(0))
    assert params["value.weight"].shape == (width, hidden)
    assert params[POSITIONS].shape == (2 * longest - 1,)
    own = sum(array.size for array in params.values())
    layers = depth * (own + 4 * width + 2 * width * hidden + width + hidden)
    assert layers == pytest.approx(millions * 1e6, rel=0.025)
