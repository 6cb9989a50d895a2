"""S4: its kernel is LegS's recurrence, through the generating function; memory of that; the authors' counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attention_cases import dims_for

from attention_impls.ops.hippo import legs
from attention_impls.s4 import (
    B_IMAG,
    B_REAL,
    C_IMAG,
    C_REAL,
    CARD,
    DECAY,
    FREQUENCY,
    P_IMAG,
    P_REAL,
    STEP,
    Options,
    nodes,
    period,
    piece,
)

BACKENDS = ("torch", "jax")


def kernels(backend: str, params: dict[str, np.ndarray], dims: Any, dtype: str = "float64") -> np.ndarray:
    """Those of both directions, (2, C, M)."""
    pytest.importorskip(backend)
    if backend == "torch":
        import torch

        from attention_impls.s4.torch_impl import _kernels as of_torch

        given = {name: torch.tensor(array, dtype=getattr(torch, dtype)) for name, array in params.items()}
        return of_torch(given, dims).numpy()
    import jax
    import jax.numpy as jnp

    from attention_impls.s4.jax_impl import _kernels as of_jax

    with jax.enable_x64(dtype == "float64"):
        return np.asarray(of_jax({name: jnp.asarray(array, dtype) for name, array in params.items()}, dims))


def legs_kernel(readout: np.ndarray, step: float, state: int, lags: int) -> np.ndarray:
    """Of LegS itself, by its recurrence, for a readout of the state in LegS's own coordinates."""
    matrix, inputs = legs(state)
    left, right = np.eye(state) - step / 2 * matrix, np.eye(state) + step / 2 * matrix
    moved, out = np.linalg.solve(left, step * inputs), []
    for _ in range(lags):
        out.append(readout @ moved)
        moved = np.linalg.solve(left, right @ moved)
    return np.array(out)


def coordinates(state: int) -> np.ndarray:
    """From the state in pairs, all conjugates last, to LegS's own: the eigenvectors that make B real and positive."""
    matrix, inputs = legs(state)
    p = np.sqrt(np.arange(state) + 0.5)
    basis = np.linalg.eigh(-1j * (matrix + np.outer(p, p) + np.eye(state) / 2))[1][:, : state // 2]
    found = basis.conj().T @ inputs
    basis = basis * (found / np.abs(found))
    return np.concatenate([basis, basis.conj()], 1)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_generating_function_is_the_recurrence_of_legs(backend: str, dtype: str) -> None:
    """At the first parameters, whose rank-one term gives LegS back; for 300 lags, with 300 as M and with 400."""
    state, options = 16, Options(state=16, glu=False)
    for longest, lags in ((300, 300), (400, 300)):
        dims = dims_for(longest, heads=1, head_dim=3)
        rng = np.random.default_rng(0)
        params = CARD.params(options, dims, rng)
        found = kernels(backend, params, dims, dtype)
        assert found.shape == (2, 3, longest)
        drawn = np.random.default_rng(0)  # in the order of the card: step sizes, then real and imaginary parts of C
        step = np.exp(drawn.uniform(np.log(1e-3), np.log(0.1), 3))
        real, imag = np.split(drawn.normal(0, np.sqrt(0.5), (2, 3, state)), 2, -1)
        np.testing.assert_allclose(np.log1p(np.exp(params[STEP])), step, rtol=1e-12)
        for direction in (0, 1):
            for channel in range(3):
                pairs = (real - 1j * imag)[direction, channel]
                readout = np.real(np.concatenate([pairs, pairs.conj()]) @ coordinates(state).conj().T)
                expected = legs_kernel(readout, step[channel], state, lags)
                error = np.abs(found[direction, channel, :lags] - expected).max() / np.abs(expected).max()
                assert error < (1e-11 if dtype == "float64" else 2e-4)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_model_without_the_rank_one_term_is_diagonal(backend: str) -> None:
    """Then every pair is a geometric sequence of ratio (1 + Δλ/2) / (1 − Δλ/2), at steps of any size."""
    dims = dims_for(100, heads=1, head_dim=2)
    params = CARD.params(Options(state=8, systems=0), dims, np.random.default_rng(1))
    rng = np.random.default_rng(2)
    params |= {P_REAL: np.zeros((2, 4)), B_IMAG: rng.normal(size=(2, 4))}
    params |= {DECAY: rng.normal(size=(2, 4)), STEP: np.array([3.0, -7.0])}
    moved = np.log1p(np.exp(params[STEP]))[:, None] * (-np.exp(params[DECAY]) + 1j * params[FREQUENCY])
    ratio = (1 + moved / 2) / (1 - moved / 2)
    held = np.log1p(np.exp(params[STEP]))[:, None] / (1 - moved / 2) * (params[B_REAL] + 1j * params[B_IMAG])
    readout = (params[C_REAL] + 1j * params[C_IMAG]) / (1 - ratio ** period(dims))
    lags = ratio[..., None] ** np.arange(100)
    expected = 2 * np.einsum("dcn,cnl->dcl", readout * held, lags).real
    np.testing.assert_allclose(kernels(backend, params, dims), expected, rtol=1e-9, atol=1e-11)


def test_no_array_of_pairs_by_frequencies() -> None:
    """256 channels with 32 pairs and 16,384 lags would fill half a gigabyte; a piece is no larger than a kernel."""
    jax = pytest.importorskip("jax")
    from attention_meter import jaxpr_footprint

    from attention_impls.s4.jax_impl import _kernels

    dims, options = dims_for(16_384, heads=4, head_dim=64), Options(systems=0)
    shapes = {name: jax.ShapeDtypeStruct(array.shape, np.float32) for name, array in drawn_small(options, 256).items()}
    found = jaxpr_footprint(jax.make_jaxpr(lambda given: _kernels(given, dims))(shapes).jaxpr)
    terms = 256 * 32 * 2 * nodes(dims)
    assert found.largest <= 2 * 256 * 16_384
    assert found.peak < terms / 2
    grown = jaxpr_footprint(jax.make_jaxpr(jax.grad(lambda given: _kernels(given, dims).sum()))(shapes).jaxpr)
    assert grown.peak < terms


def drawn_small(options: Options, width: int) -> dict[str, np.ndarray]:
    """The card's arrays for a short sequence, whose shapes are those for any."""
    return CARD.params(options, dims_for(16, heads=4, head_dim=width // 4), np.random.default_rng(0))


def test_pieces_cover_every_frequency() -> None:
    for longest in (1, 2, 100, 16_384):
        dims = dims_for(longest)
        for pairs in (1, 2, 32):
            assert nodes(dims) <= pairs * piece(pairs, dims) < nodes(dims) + pairs


@pytest.mark.parametrize(
    ("width", "state", "systems", "count"), [(256, 4, 1, 134_668), (512, 64, 1, 593_088), (256, 64, 0, 214_528)]
)
def test_parameters_are_counted_as_the_authors_layer(width: int, state: int, systems: int, count: int) -> None:
    """Theirs at ListOps, Image and Pathfinder, whose norm has two numbers a channel more."""
    params = drawn_small(Options(state=state, systems=systems), width)
    assert sum(array.size for array in params.values()) == count - 2 * width


def test_channels_share_systems_in_turn() -> None:
    """Channel c has system c modulo their number, so two channels with the same numbers but another system differ."""
    pytest.importorskip("torch")
    dims = dims_for(40, heads=1, head_dim=4)
    params = CARD.params(Options(state=4, systems=2, glu=False), dims, np.random.default_rng(0))
    params |= {name: np.repeat(params[name][..., :1, :], 4, -2) for name in (C_REAL, C_IMAG)}
    params |= {STEP: np.full(4, -2.0), P_IMAG: np.array([[0.0, 0.0], [0.3, -0.2]])}
    found = kernels("torch", params, dims)
    np.testing.assert_array_equal(found[:, 0], found[:, 2])
    np.testing.assert_array_equal(found[:, 1], found[:, 3])
    assert np.abs(found[:, 0] - found[:, 1]).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options(state=7), "state is 7, expected an even number"),
        (Options(systems=3), "systems is 3, expected 0 or a divisor of the width, which is 32"),
        (Options(step_min=0.1, step_max=0.01), "step_min is 0.1, expected at most step_max"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Options, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        CARD.check(options, dims_for(64))


def test_the_authors_train_all_but_c_and_d_apart() -> None:
    groups = {name: CARD.group_of(name) for name in drawn_small(Options(state=4), 8)}
    assert {name for name, group in groups.items() if group == "state"} == {
        DECAY, FREQUENCY, P_REAL, P_IMAG, B_REAL, B_IMAG
    }  # fmt: skip
    assert {name for name, group in groups.items() if group is None} == {
        C_REAL, C_IMAG, "skip", "glu.weight", "glu.bias"
    }  # fmt: skip
    assert groups[STEP] == "step"
