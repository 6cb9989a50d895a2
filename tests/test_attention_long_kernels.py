"""SGConv and long convolution: what a kernel is made of, its norm and its threshold, and the authors' counts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from attention_cases import Case, Inputs, cotangent_for, dims_for, draw, error, gradients, reference

from attention_impls import longconv, sgconv
from attention_impls.base import Layer
from attention_impls.sgconv.reference import _kernels

DIMS = dims_for(100, heads=2, head_dim=4)


def made(options: sgconv.Options, seed: int = 0) -> dict[str, np.ndarray]:
    """SGConv's arrays."""
    return sgconv.CARD.params(options, DIMS, np.random.default_rng(seed))


def test_the_lags_of_the_pieces_double_and_cover_the_longest_sequence() -> None:
    assert sgconv.factors(sgconv.Options(taps=8), DIMS) == [1, 1, 2, 4, 8]  # 8, 16, 32, 64 and 128 lags
    assert sgconv.factors(sgconv.Options(taps=100), DIMS) == [1]
    assert sgconv.factors(sgconv.Options(taps=64), dims_for(16_384)) == [1, 1, 2, 4, 8, 16, 32, 64, 128]


def test_every_first_kernel_has_norm_one_and_pieces_that_decay() -> None:
    options = sgconv.Options(taps=8)
    kernel = _kernels(sgconv_layer(options, made(options)))
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=2), 1, rtol=1e-12)
    parts = np.split(kernel, [8, 16, 32, 64], axis=2)
    sizes = [np.sqrt((part**2).mean()) for part in parts]
    assert all(0.3 < far / near < 0.7 for near, far in itertools.pairwise(sizes))


def test_the_taps_are_normal_and_the_constant_is_the_expected_norm() -> None:
    options = sgconv.Options(taps=32)
    taps = np.concatenate([made(options, seed)["kernel.1"].ravel() for seed in range(40)])
    for factor in (1, 2, 8):
        stretched = sgconv._stretched(np.eye(32), factor)
        assert sgconv._squares(32, factor) == pytest.approx((stretched**2).sum())
    assert taps.std() == pytest.approx(1, abs=0.02)  # the exact norm is near the expected one, so little is scaled


@pytest.mark.parametrize("factor", [1, 2, 8])
def test_pieces_are_stretched_as_the_authors_stretch_them(factor: int) -> None:
    torch = pytest.importorskip("torch")
    from attention_impls.sgconv.torch_impl import _stretched

    taps = torch.tensor(np.random.default_rng(0).normal(size=(2, 3, 5)))
    expected = torch.nn.functional.interpolate(taps, scale_factor=factor, mode="linear")
    torch.testing.assert_close(_stretched(taps, factor), expected)


def sgconv_layer(options: sgconv.Options, params: dict[str, np.ndarray]) -> Layer[sgconv.Options]:
    """What the reference is called with."""
    return Layer(options=options, dims=DIMS, params=params, constants={})


def test_a_piece_behind_the_last_lag_has_a_gradient_that_is_zero_and_there() -> None:
    """An optimiser treats an array without a gradient otherwise, so that the padded length would matter."""
    torch = pytest.importorskip("torch")
    options = sgconv.Options(taps=8)
    params = {name: torch.tensor(array, requires_grad=True) for name, array in made(options).items()}
    attend = Case("sgconv", options).mechanism.attend("torch")
    x = torch.ones(1, 10, DIMS.width, dtype=torch.float64)
    attend(x, lengths=None, params=params, constants={}, options=options, dims=DIMS).sum().backward()
    assert all(array.grad is not None for array in params.values())
    assert [bool(params[f"kernel.{number}"].grad.any()) for number in range(5)] == [True, True, False, False, False]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_threshold_takes_small_taps_away(backend: str) -> None:
    """Taps are drawn away from the threshold, where the kernel has a corner."""
    case = Case("longconv", longconv.Options(threshold=0.1))
    plain = draw(case, 37, (37, 20))
    rng = np.random.default_rng(4)
    size = np.where(rng.random(plain.params["kernel"].shape) < 0.5, 0.05, 0.3)
    kernel = size * np.sign(rng.normal(size=size.shape))
    inputs = Inputs(plain.dims, plain.arrays, plain.lengths, plain.params | {"kernel": kernel}, {})
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs))
    assert error(out, reference(case, inputs)) < 1e-12
    assert not grads["kernel"][size < 0.1].any()
    squashed = np.sign(kernel) * np.maximum(np.abs(kernel) - 0.1, 0)
    free = Case("longconv", longconv.Options(threshold=0.0))
    same = Inputs(plain.dims, plain.arrays, plain.lengths, plain.params | {"kernel": squashed}, {})
    expected, without = gradients(free, backend, same, cotangent_for(inputs))
    assert error(out, expected) < 1e-12
    assert error(grads["kernel"][size > 0.1], without["kernel"][size > 0.1]) < 1e-12


def test_the_decaying_kernel_is_the_published_double_exponential() -> None:
    options = longconv.Options(init="double_exp")
    many = [longconv.CARD.params(options, DIMS, np.random.default_rng(seed))["kernel"] for seed in range(400)]
    spread = np.stack(many).std((0, 1))
    for channel, lag in ((0, 0), (0, 99), (4, 50), (7, 10)):
        expected = 0.02 * np.exp(-lag / 100 * 4 ** (channel / 8))
        assert spread[channel, lag] == pytest.approx(expected, rel=0.12)


def test_parameters_are_counted_as_the_authors_kernels() -> None:
    """c · H · d · M of SGConv, 2 · H · L of the long convolution, both with D and without the gated unit."""
    dims = dims_for(16_384, heads=2, head_dim=4)
    of_sgconv = sgconv.CARD.params(sgconv.Options(glu=False), dims, np.random.default_rng(0))
    of_longconv = longconv.CARD.params(longconv.Options(glu=False), dims, np.random.default_rng(0))
    assert sum(array.size for array in of_sgconv.values()) == 2 * 8 * 64 * (1 + 8) + 8
    assert sum(array.size for array in of_longconv.values()) == 2 * 8 * 16_384 + 8
    assert {sgconv.CARD.group_of(f"kernel.{number}") for number in range(9)} == {"kernel"}
