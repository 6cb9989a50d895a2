"""S4D: HiPPO-LegS and its normal part, discretisation, kernel against recurrence, sizes; the authors' counts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from attention_cases import dims_for
from scipy.linalg import expm

from attention_impls.ops.fourier import piece
from attention_impls.ops.hippo import legs, normal_legs, rank_one
from attention_impls.s4d import B_IMAG, B_REAL, C_IMAG, C_REAL, CARD, DECAY, FREQUENCY, STEP, Options

DIMS = dims_for(300, heads=1, head_dim=3)
BACKENDS = ("torch", "jax")


def drawn(options: Options, dims: Any = DIMS) -> dict[str, np.ndarray]:
    """The card's arrays, B with imaginary parts too."""
    rng = np.random.default_rng(0)
    params = CARD.params(options, dims, rng)
    return params | {B_IMAG: rng.normal(size=params[B_IMAG].shape)}


def kernels(backend: str, params: dict[str, np.ndarray], tokens: int) -> np.ndarray:
    """Those of both directions, (2, C, tokens), in float64."""
    pytest.importorskip(backend)
    if backend == "torch":
        import torch

        from attention_impls.s4d.torch_impl import _kernels as of_torch

        return of_torch({name: torch.tensor(array) for name, array in params.items()}, tokens).numpy()
    import jax
    import jax.numpy as jnp

    from attention_impls.s4d.jax_impl import _kernels as of_jax

    with jax.enable_x64(True):
        return np.asarray(of_jax({name: jnp.asarray(array) for name, array in params.items()}, tokens))


@pytest.mark.parametrize("power", [0, 1, 3, 6])
def test_legs_moves_the_legendre_coefficients_of_a_growing_past(power: int) -> None:
    """For f(s) = s^k on [0, t] the coefficients are t^k g, so that t dc/dt = A c + B f(t) says k g = A g + B."""
    matrix, inputs = legs(8)
    points, weights = np.polynomial.legendre.leggauss(20)
    basis = np.stack([np.polynomial.Legendre.basis(n)(points) * np.sqrt(2 * n + 1) for n in range(8)])
    coefficients = basis @ (weights * ((points + 1) / 2) ** power) / 2
    np.testing.assert_allclose(power * coefficients, matrix @ coefficients + inputs, atol=1e-12)


def test_the_normal_part_of_legs_has_these_eigenvalues() -> None:
    matrix, inputs = legs(16)
    normal = matrix + np.outer(rank_one(16), rank_one(16))
    skew = normal + 0.5 * np.eye(16)
    np.testing.assert_allclose(skew, -skew.T, atol=1e-12)
    found = normal_legs(16)
    every = np.linalg.eigvals(normal)
    own = every[every.imag < 0]
    np.testing.assert_allclose(found.eigenvalues, own[np.argsort(own.imag)], atol=1e-9)
    for time in (0.0, 0.1, 1.0):  # whatever the phases of the eigenvectors
        response = 2 * (found.inputs**2 * np.exp(time * found.eigenvalues)).sum().real
        assert response == pytest.approx(inputs @ expm(time * normal) @ inputs, abs=1e-9)


def test_first_eigenvalues_of_the_other_kinds() -> None:
    lin, inv = (CARD.params(Options(init=init, state=6), DIMS, np.random.default_rng(0)) for init in ("lin", "inv"))
    np.testing.assert_allclose(lin[FREQUENCY][0], [0, np.pi, 2 * np.pi])
    np.testing.assert_allclose(inv[FREQUENCY][1], 6 / np.pi * np.array([6 - 1, 6 / 3 - 1, 6 / 5 - 1]))
    for params in (lin, inv):
        np.testing.assert_allclose(-np.exp(params[DECAY]), -0.5)
        assert (params[B_REAL] == 1).all()
        assert (np.log(1e-3) <= params[STEP]).all()
        assert (params[STEP] <= np.log(0.1)).all()


@pytest.mark.parametrize("init", ["lin", "inv", "legs"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_discretisation_is_a_matrix_exponential(backend: str, init: Any) -> None:
    """The first two lags are C B̄ and C Ā B̄, which the exponential of [[A, B], [0, 0]] Δ holds."""
    params = drawn(Options(init=init, state=4))
    found = kernels(backend, params, 2)
    for channel in range(3):
        states = -np.exp(params[DECAY][channel]) + 1j * params[FREQUENCY][channel]
        system = np.zeros((3, 3), complex)
        system[:2, :2] = np.diag(states)
        system[:2, 2] = params[B_REAL][channel] + 1j * params[B_IMAG][channel]
        held = expm(system * np.exp(params[STEP][channel]))
        out = params[C_REAL][:, channel] + 1j * params[C_IMAG][:, channel]
        for lag in (0, 1):
            expected = 2 * (out @ np.linalg.matrix_power(held[:2, :2], lag) @ held[:2, 2]).real
            np.testing.assert_allclose(found[:, channel, lag], expected, atol=1e-12)


@pytest.mark.parametrize("tokens", [1, 2, 100, 300])
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_kernel_is_the_recurrence(backend: str, tokens: int) -> None:
    params = drawn(Options(init="legs", state=32))
    states = -np.exp(params[DECAY]) + 1j * params[FREQUENCY]
    step = np.exp(np.exp(params[STEP])[:, None] * states)
    state = (step - 1) / states * (params[B_REAL] + 1j * params[B_IMAG])
    out, expected = params[C_REAL] + 1j * params[C_IMAG], []
    for _ in range(tokens):
        expected.append(2 * (out * state).sum(2).real)
        state = step * state
    np.testing.assert_allclose(kernels(backend, params, tokens), np.stack(expected, 2), atol=1e-11)


def test_pieces_are_about_the_root_of_the_length_and_cover_it() -> None:
    for tokens in (1, 2, 3, 100, 1024, 16_384, 65_536):
        assert tokens <= piece(tokens) ** 2 <= 4 * tokens


def test_no_array_of_states_by_lags() -> None:
    """256 channels with 32 pairs and 16,384 lags would fill a gigabyte; the kernels themselves are the largest here."""
    jax = pytest.importorskip("jax")
    from attention_meter import jaxpr_footprint

    from attention_impls.s4d.jax_impl import _kernels

    dims = dims_for(16_384, heads=4, head_dim=64)
    params = CARD.params(Options(), dims, np.random.default_rng(0))
    shapes = {name: jax.ShapeDtypeStruct(array.shape, np.float32) for name, array in params.items()}
    found = jaxpr_footprint(jax.make_jaxpr(lambda given: _kernels(given, 16_384))(shapes).jaxpr)
    assert found.largest == 2 * 256 * 16_384
    assert found.peak < 256 * 32 * 16_384 / 4


def test_parameters_are_counted_as_the_authors_layer() -> None:
    """Theirs of S4 at width 256 and state 64, Pathfinder, is 214,528 with its norm's 512 and the rank-one term's P."""
    dims = dims_for(1024, heads=4, head_dim=64)
    params = CARD.params(Options(), dims, np.random.default_rng(0))
    assert sum(array.size for array in params.values()) == 214_528 - 512 - 2 * 256 * 32


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options(state=7), "state is 7, expected an even number"),
        (Options(step_min=0.1, step_max=0.01), "step_min is 0.1, expected at most step_max"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: Options, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        CARD.check(options, DIMS)


def test_every_part_of_a_complex_number_is_an_array_of_its_own() -> None:
    params = CARD.params(Options(state=8), replace(DIMS, max_length=64), np.random.default_rng(0))
    assert not any(np.iscomplexobj(array) for array in params.values())
    assert {CARD.group_of(name) for name in (DECAY, FREQUENCY, B_REAL, B_IMAG)} == {"state"}
    assert (CARD.group_of(STEP), CARD.group_of(C_REAL), CARD.group_of("skip")) == ("step", None, None)
