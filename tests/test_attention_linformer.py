"""Linformer: with as many mixtures as tokens, each of them one token, it is softmax attention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention_cases import Case, draw, error, output, reference

from attention_impls.linformer import Options
from attention_impls.softmax import Options as Softmax

TOKENS = 64


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("share", [True, False])
def test_identity_projections_are_softmax_attention(backend: str, share: bool) -> None:
    case = Case("linformer", Options(rank=TOKENS, share_projections=share))
    drawn = draw(case, TOKENS, None)
    inputs = replace(drawn, params={name: np.eye(TOKENS) for name in drawn.params})
    expected = reference(Case("softmax", Softmax()), inputs)
    assert error(output(case, backend, inputs), expected) < 1e-12
    assert error(output(case, backend, drawn), expected) > 0.1
