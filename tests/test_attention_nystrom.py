"""Nyströmformer: more landmarks come closer to softmax attention where neighbouring tokens are alike."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention_cases import Case, draw, error, output, reference

from attention_impls.nystrom import Options
from attention_impls.softmax import Options as Softmax


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_error_falls_with_the_landmarks(backend: str) -> None:
    drawn = draw(Case("nystrom", Options(conv_kernel=0)), 256, (256, 200))
    smooth = {letter: np.cumsum(array, 1) / 16 for letter, array in drawn.arrays.items()}
    inputs = replace(drawn, arrays=smooth | {"v": drawn.arrays["v"]})
    expected = reference(Case("softmax", Softmax()), inputs)
    errors = []
    for landmarks in (4, 16, 64):
        case = Case("nystrom", Options(landmarks=landmarks, iterations=20, conv_kernel=0))
        errors.append(error(output(case, backend, inputs), expected))
    assert errors[0] > 10 * errors[1] > 100 * errors[2]
