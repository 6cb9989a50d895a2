"""Focused linear attention away from its start, where scale and positions are zero and would hide a mistake."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention_cases import Case, draw, error, output, reference

from attention_impls.focused_linear import POSITION, SCALE, Options


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("changed", [SCALE, POSITION])
def test_learned_scales_and_positions_are_those_of_the_reference(backend: str, changed: str) -> None:
    case = Case("focused_linear", Options())
    start = draw(case, 37, (37, 0, 1, 20))
    drawn = np.random.default_rng(3).normal(size=start.params[changed].shape)
    inputs = replace(start, params=start.params | {changed: drawn})
    expected = reference(case, inputs)
    assert error(expected, reference(case, start)) > 1e-2
    assert error(output(case, backend, inputs), expected) < 1e-12
