"""What the Synthesizer's logits depend on, and which projections its kinds need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from attention_cases import Case, draw, error, output, reference

import attention_impls
from attention_impls.synthesizer import ALPHA, Options
from lra.model.weights import initial_weights
from tests import small

RAGGED = (37, 0, 1, 20)


@pytest.mark.parametrize("backend", ["torch", "jax"])
@pytest.mark.parametrize("kind", ["random", "factorised-random", "dense", "factorised-dense"])
def test_a_mixture_without_its_synthetic_part_is_softmax(kind: str, backend: str) -> None:
    case = Case("synthesizer", Options(kind=kind, rank=8))  # pyright: ignore[reportArgumentType]
    inputs = draw(case, 37, RAGGED)
    inputs = replace(inputs, params=inputs.params | {ALPHA: np.array([-60.0])})
    softmax = Case("softmax", attention_impls.load("softmax").card.options())
    assert error(output(case, backend, inputs), reference(softmax, replace(inputs, params={}))) < 1e-12


@pytest.mark.parametrize("kind", ["dense", "factorised-dense"])
def test_a_row_of_weights_comes_from_one_token(kind: str) -> None:
    case = Case("synthesizer", Options(kind=kind, dot_product=False, rank=8))  # pyright: ignore[reportArgumentType]
    inputs = draw(case, 37, RAGGED)
    before, query = reference(case, inputs), inputs.arrays["q"].copy()
    query[0, 5] += 1
    after = reference(case, replace(inputs, arrays=inputs.arrays | {"q": query}))
    assert np.argwhere(np.abs(after - before).max((2, 3)) > 1e-9).tolist() == [[0, 5]]


@pytest.mark.parametrize(
    ("options", "projections"),
    [
        (Options(), {"query", "key", "value"}),
        (Options(kind="random", dot_product=False), {"value"}),
        (Options(kind="factorised-dense", dot_product=False), {"query", "value"}),
    ],
)
def test_the_encoder_makes_the_projections_a_kind_needs(options: Options, projections: set[str]) -> None:
    plan = replace(small.blueprint("synthesizer"), options=options)
    weights = initial_weights(plan)
    found = {name.split(".")[2] for name in weights if name.startswith("layers.0.") and name.endswith(".kernel")}
    assert found - {"output", "ffn_in", "ffn_out"} == projections
    losses, *_ = small.losses("torch", plan, weights, small.chunks(small.split()))
    assert losses[-1] < losses[0]
