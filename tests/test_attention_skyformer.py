"""Skyformer: it comes closer to kernelized attention with more points, and up to the regularizer with all of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention_cases import Case, Inputs, cotangent_for, draw, gradients, output, reference

from attention_impls.kernelized import Options as Kernelized
from attention_impls.ranges import problems
from attention_impls.skyformer import POINTS, Options

BACKENDS = ("torch", "jax")


def exact(inputs: Inputs) -> np.ndarray:
    """Kernelized attention of the same queries, keys and values."""
    return reference(Case("kernelized", Kernelized()), inputs)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_error_falls_with_the_points(backend: str) -> None:
    errors = []
    for features in (8, 32, 128):
        case = Case("skyformer", Options(features=features))
        drawn = draw(case, 256, (256, 200))
        inputs = replace(drawn, arrays={letter: array / 2 for letter, array in drawn.arrays.items()})
        difference = output(case, backend, inputs) - exact(inputs)
        errors.append(np.linalg.norm(difference) / np.linalg.norm(exact(inputs)))
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("regularizer", [0.1, 1e-3])
def test_with_all_points_the_error_is_the_regularizer(backend: str, regularizer: float) -> None:
    """The difference of the two kernels is γ B (B + γ I)⁻¹, whose largest singular value is at most γ."""
    tokens = 48
    case = Case("skyformer", Options(features=2 * tokens, iterations=20, regularizer=regularizer))
    drawn = draw(case, tokens, None)
    every = np.tile((np.arange(tokens) + 0.5) / tokens, 2)
    inputs = replace(drawn, constants={POINTS: every})
    difference = output(case, backend, inputs) - exact(inputs)
    for i, h in np.ndindex(len(difference), drawn.dims.heads):
        found = np.linalg.norm(difference[i, :, h], 2) / np.linalg.norm(drawn.arrays["v"][i, :, h], 2)
        assert found <= regularizer


@pytest.mark.parametrize("backend", BACKENDS)
def test_near_points_far_from_zero_stay_invertible(backend: str) -> None:
    case = Case("skyformer", Options(features=32))
    drawn = draw(case, 64, None)
    far = {letter: 1e4 + array / 100 for letter, array in drawn.arrays.items()}
    inputs = replace(drawn, arrays=far | {"v": drawn.arrays["v"]})
    out, found = gradients(case, backend, inputs, cotangent_for(inputs), "float32")
    assert np.abs(out).max() < 1e3
    assert all(np.isfinite(array).all() for array in found.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (Options(features=1), "features is 1, expected at least 2"),
        (Options(regularizer=0.0), "regularizer is 0.0, expected at least 1e-06"),
    ],
)
def test_skyformer_refuses_the_impossible(options: Options, message: str) -> None:
    (found,) = problems(options)
    assert found.startswith(message)
