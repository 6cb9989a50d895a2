"""S5 and the LRU: first arrays, discretisation, the size of what comes out, groups; the authors' counts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, dims_for, draw, error, output
from scipy.linalg import expm

from attention_impls import lru, s5
from attention_impls.base import Arrays, Dims
from attention_impls.ops.diagonal import B_IMAG, B_REAL, C_IMAG, C_REAL
from attention_impls.ops.gated import SKIP
from attention_impls.ops.hippo import legs, normal_basis, normal_legs, rank_one

BACKENDS = ("torch", "jax")


def made(options: s5.Options | lru.Options, width: int, seed: int = 0) -> Arrays:
    """The arrays of either card."""
    card = s5.CARD if isinstance(options, s5.Options) else lru.CARD
    dims = Dims(heads=1, head_dim=width, width=width, max_length=64)
    card.check(options, dims)
    return card.params(options, dims, np.random.default_rng(seed))


def test_the_basis_of_legs_makes_its_normal_part_diagonal_and_its_inputs_positive() -> None:
    matrix, inputs = legs(12)
    basis, first = normal_basis(12), normal_legs(12)
    normal = matrix + np.outer(rank_one(12), rank_one(12))
    np.testing.assert_allclose(normal @ basis, basis * first.eigenvalues, atol=1e-12)
    np.testing.assert_allclose(basis.conj().T @ inputs, first.inputs, atol=1e-12)
    np.testing.assert_allclose(basis.conj().T @ basis, np.eye(6), atol=1e-12)


@pytest.mark.parametrize(
    ("width", "layers", "state", "blocks", "around", "count"),
    [
        (128, 8, 16, 8, 21 * 128 + 129 * 10, 188_490),  # ListOps
        (256, 6, 192, 12, 136 * 256 + 257 * 2, 1_321_154),  # Text
        (128, 6, 256, 16, 99 * 128 + (4 * 128 + 1) * 128 + 129 * 2, 772_098),  # Retrieval
        (512, 6, 384, 3, 2 * 512 + 513 * 10, 5_133_706),  # Image
        (192, 6, 256, 8, 2 * 192 + 193 * 2, 1_113_602),  # Pathfinder
        (128, 6, 256, 16, 2 * 128 + 129 * 2, 694_018),  # Path-X
    ],
)
def test_s5_has_as_many_parameters_as_the_authors_models(
    width: int, layers: int, state: int, blocks: int, around: int, count: int
) -> None:
    """Each layer has a norm, of two numbers a channel; `around` are their encoder and decoder."""
    arrays = made(s5.Options(state=state, blocks=blocks), width)
    assert layers * (sum(array.size for array in arrays.values()) + 2 * width) + around == count


def test_s5_begins_as_legs_in_each_block() -> None:
    """B and C, drawn in the blocks' coordinates, and both halves of the spectrum make a real system."""
    options = s5.Options(state=16, blocks=2, bidirectional=False)
    arrays = made(options, 3)
    b, c = arrays[B_REAL] + 1j * arrays[B_IMAG], (arrays[C_REAL] + 1j * arrays[C_IMAG])[0]
    system = legs(8)[0] + np.outer(rank_one(8), rank_one(8))
    basis = np.kron(np.eye(2), normal_basis(8))
    inputs = 2 * (basis @ b).real  # the conjugates have the rest
    outputs = 2 * (c @ basis.conj().T).real
    for lag in (0.0, 0.3, 1.0):
        powers = np.exp(lag * (arrays[s5.REAL] + 1j * arrays[s5.IMAG]).ravel())
        expected = outputs @ np.kron(np.eye(2), expm(lag * system)) @ inputs
        np.testing.assert_allclose(2 * (c * powers @ b).real, expected, atol=1e-12)


def test_s5_draws_with_these_variances() -> None:
    width, state = 64, 128
    basis = np.kron(np.eye(8), normal_basis(16))
    variances: dict[Any, float] = {"rows": 2 / state, "lecun": 2 / state / width, "normal": 1.0}
    for first_c, variance in variances.items():
        arrays = made(s5.Options(state=state, first_c=first_c), width)
        c = arrays[C_REAL] + 1j * arrays[C_IMAG]
        assert c.shape == (2, width, state // 2)
        assert (np.abs(c) ** 2).mean() == pytest.approx(variance, rel=0.05)
    arrays = made(s5.Options(state=state), width)
    inputs = 2 * (basis @ (arrays[B_REAL] + 1j * arrays[B_IMAG])).real
    assert inputs.var() == pytest.approx(1 / state, rel=0.05)
    assert np.abs(s5._truncated(np.random.default_rng(0), (10_000,))).max() <= 2 / 0.879
    assert s5._truncated(np.random.default_rng(0), (100_000,)).var() == pytest.approx(1, rel=0.02)
    steps = np.exp(arrays[s5.STEP])
    assert 1e-3 <= steps.min() < 2e-3
    assert 0.05 < steps.max() <= 0.1


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_discretisation_of_s5_is_a_matrix_exponential(backend: str) -> None:
    """An impulse comes out through C B̄, then C λ̄ B̄, which the exponential of [[λ, B], [0, 0]] Δ holds."""
    case = Case("s5", s5.Options(state=4, blocks=1, bidirectional=False, glu="none"))
    inputs = draw(case, 3, None, batch=1, dims=dims_for(3, heads=1, head_dim=2))
    inputs.params[s5.STEP][:] = [[-9.0, 1.0]]  # a step of 0.0001 and one of 2.7
    inputs.params[SKIP][:] = 0
    inputs.arrays["x"][:] = 0
    inputs.arrays["x"][0, 0, 0] = 1
    states, way = inputs.params[s5.REAL] + 1j * inputs.params[s5.IMAG], inputs.params
    expected = np.zeros((3, 2))
    for n in range(2):
        held = expm(
            np.exp(way[s5.STEP][0, n]) * np.array([[states[0, n], (way[B_REAL] + 1j * way[B_IMAG])[n, 0]], [0, 0]])
        )
        for lag in range(3):
            c = (way[C_REAL] + 1j * way[C_IMAG])[0, :, n]
            expected[lag] += 2 * (c * held[0, 0] ** lag * held[0, 1]).real
    gelu = np.vectorize(lambda y: y * (1 + math.erf(y / math.sqrt(2))) / 2)
    assert error(output(case, backend, inputs)[0, :, 0], gelu(expected)) < 1e-12


def test_a_clipped_s5_cannot_grow() -> None:
    pytest.importorskip("torch")
    found = {}
    for clip in (False, True):
        case = Case("s5", s5.Options(state=8, blocks=2, clip=clip, glu="none"))
        inputs = draw(case, 500, None, batch=1, dims=dims_for(500, heads=1, head_dim=4))
        inputs.params[s5.REAL][:] = 5.0
        found[clip] = np.abs(output(case, "torch", inputs)).max()
    assert found[False] > 1e6
    assert found[True] < 1e3


def test_the_eigenvalues_of_the_lru_lie_on_a_ring_uniformly() -> None:
    options = lru.Options(state=20_000, radius_min=0.5, radius_max=0.9, phase_max=1.0)
    arrays = made(options, 1)
    sizes, phases = np.exp(-np.exp(arrays[lru.DECAY])), np.exp(arrays[lru.PHASE])
    assert 0.5 <= sizes.min() < 0.502
    assert 0.898 < sizes.max() <= 0.9
    quarters = np.histogram(sizes**2, bins=4, range=(0.25, 0.81))[0]  # equal areas of the ring
    assert np.abs(quarters / 5000 - 1).max() < 0.05
    assert np.abs(np.histogram(phases, bins=4, range=(0, 1))[0] / 5000 - 1).max() < 0.05
    np.testing.assert_allclose(np.exp(arrays[lru.GAIN]), np.sqrt(1 - sizes**2), rtol=1e-9)


def test_states_of_the_lru_keep_the_size_of_its_inputs() -> None:
    """White inputs of size 1 make states of size 1 however long the memory: what the gain is for."""
    rng, width = np.random.default_rng(3), 16
    for radius in (0.5, 0.99):
        arrays = made(lru.Options(state=64, radius_min=radius, radius_max=radius + 1e-3), width)
        b = np.exp(arrays[lru.GAIN])[:, None] * (arrays[B_REAL] + 1j * arrays[B_IMAG])
        eigenvalues = np.exp(-np.exp(arrays[lru.DECAY]) + 1j * np.exp(arrays[lru.PHASE]))
        state, sizes = np.zeros(64, complex), []
        for x in rng.normal(size=(3000, width)):
            state = eigenvalues * state + b @ x
            sizes.append((np.abs(state) ** 2).mean())
        assert np.mean(sizes[500:]) == pytest.approx(1, rel=0.2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (s5.Options(state=12, blocks=4), "state is 12, expected a multiple of 8: each of 4 blocks is conjugate pairs"),
        (s5.Options(step_min=0.1, step_max=0.01), "step_min is 0.1, expected at most step_max"),
        (lru.Options(radius_min=0.9, radius_max=0.5), "radius_min is 0.9, expected at most radius_max, which is 0.5"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: s5.Options | lru.Options, told: str) -> None:
    with pytest.raises(ValueError, match=f"^{told}"):
        made(options, 8)


def test_recurrent_arrays_have_groups_and_are_real() -> None:
    for card, options, own in (
        (s5.CARD, s5.Options(), {s5.REAL: "state", s5.IMAG: "state", s5.STEP: "step"}),
        (lru.CARD, lru.Options(), {lru.DECAY: "state", lru.PHASE: "state", lru.GAIN: "state"}),
    ):
        arrays = made(options, 8)
        assert not any(np.iscomplexobj(array) for array in arrays.values())
        expected = dict.fromkeys(arrays) | {B_REAL: "state", B_IMAG: "state"} | own
        assert {name: card.group_of(name) for name in arrays} == expected
