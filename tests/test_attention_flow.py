"""Flow attention where its flows are known: equal tokens carry a flow of one each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention_cases import Case, draw, output

from attention_impls.flow import Options


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_equal_tokens_give_the_mean_times_the_allocation_of_one(backend: str) -> None:
    case = Case("flow", Options())
    inputs = draw(case, 37, (37, 20))
    same = {letter: np.repeat(inputs.arrays[letter][:, :1], 37, 1) for letter in ("q", "k")}
    found = output(case, backend, replace(inputs, arrays=inputs.arrays | same))
    for i, length in enumerate((37, 20)):
        expected = inputs.arrays["v"][i, :length].mean(0) / (1 + np.exp(-1))
        # ε = 1e-6 beside features of about a half.
        np.testing.assert_allclose(found[i, :length], np.broadcast_to(expected, (length, 4, 8)), atol=1e-4)
