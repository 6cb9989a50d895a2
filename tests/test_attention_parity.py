"""PyTorch = JAX = the NumPy reference, in float64, for every variant of every mechanism: outputs and gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from attention_cases import (
    Arrays,
    Case,
    Inputs,
    cases,
    cotangent_for,
    dims_for,
    draw,
    error,
    gradients,
    implementations,
    output,
    reference,
    reference_loss,
)

from attention_impls.elfatt import Options as Elfatt

EXACT = 1e-9
LIBRARY_SOFTMAX = 2e-6  # float32 has 6e-8; a softmax and its backward pass lose a little more
BFLOAT16 = 2e-2
SHAPES = [
    pytest.param(37, (37, 0, 1, 20), id="37"),
    pytest.param(130, (130, 66), id="130"),
    pytest.param(37, None, id="full"),
]


def bound(case: Case, backend: str) -> float:
    """The error a backend may make against the reference."""
    return LIBRARY_SOFTMAX if backend == "jax" and case.mechanism.card.library_softmax else EXACT


@functools.cache
def measured(
    case: Case, backend: str, tokens: int, lengths: tuple[int, ...] | None
) -> tuple[Inputs, np.ndarray, np.ndarray, Arrays]:
    """Inputs, cotangent, output and gradients in float64, computed once for all tests that look at them."""
    inputs = draw(case, tokens, lengths)
    cotangent = cotangent_for(inputs)
    return inputs, cotangent, *gradients(case, backend, inputs, cotangent)


def output_error(case: Case, backend: str, inputs: Inputs) -> float:
    """How far a backend is from the reference."""
    return error(output(case, backend, inputs), reference(case, inputs))


def slope(case: Case, inputs: Inputs, cotangent: np.ndarray, direction: Arrays) -> float:
    """Derivative of <reference, cotangent> (+ penalty) along `direction`, by central differences."""
    step = 1e-5

    def loss(size: float) -> float:
        arrays = {letter: array + size * direction[letter] for letter, array in inputs.arrays.items()}
        params = {name: array + size * direction[name] for name, array in inputs.params.items()}
        moved = Inputs(inputs.dims, arrays, inputs.lengths, params, inputs.constants)
        return reference_loss(case, moved, cotangent)

    return (loss(step) - loss(-step)) / (2 * step)


@pytest.mark.parametrize(("tokens", "lengths"), SHAPES)
@pytest.mark.parametrize(("case", "backend"), implementations())
def test_output_equals_the_reference(case: Case, backend: str, tokens: int, lengths: tuple[int, ...] | None) -> None:
    inputs, _, found, _ = measured(case, backend, tokens, lengths)
    assert error(found, reference(case, inputs)) < bound(case, backend)


@pytest.mark.parametrize(("case", "backend"), implementations())
def test_one_example_with_one_wide_head_equals_the_reference(case: Case, backend: str) -> None:
    inputs = draw(case, 41, (38,), dims=dims_for(64, heads=1, head_dim=128))
    assert output_error(case, backend, inputs) < bound(case, backend)


@pytest.mark.parametrize(("case", "backend"), implementations())
def test_gradients_agree_with_differences_of_the_reference(case: Case, backend: str) -> None:
    inputs, cotangent, _, found = measured(case, backend, 37, (37, 0, 1, 20))
    rng = np.random.default_rng(2)
    for name, gradient in found.items():
        direction = {other: np.zeros(array.shape) for other, array in (inputs.arrays | inputs.params).items()}
        direction[name] = rng.normal(size=gradient.shape)
        expected = slope(case, inputs, cotangent, direction)
        assert abs((gradient * direction[name]).sum() - expected) < max(1e-6, bound(case, backend)) * max(
            abs(expected), 1
        )


@pytest.mark.parametrize(("tokens", "lengths"), SHAPES)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_gradients_agree_between_frameworks(case: Case, tokens: int, lengths: tuple[int, ...] | None) -> None:
    if len(case.mechanism.backends) < 2:
        pytest.skip(f"{case.name} is written in {case.mechanism.backends} only")
    ours, theirs = (measured(case, backend, tokens, lengths)[-1] for backend in ("torch", "jax"))
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert error(theirs[name], ours[name]) < bound(case, "jax"), name


@pytest.mark.parametrize(("case", "backend"), implementations())
def test_bfloat16_is_close_to_float32(case: Case, backend: str) -> None:
    import torch

    def rounded(arrays: Arrays) -> Arrays:
        return {name: torch.tensor(array).bfloat16().double().numpy() for name, array in arrays.items()}

    drawn = draw(case, 130, (130, 66))
    inputs = Inputs(drawn.dims, rounded(drawn.arrays), drawn.lengths, rounded(drawn.params), rounded(drawn.constants))
    half, single = (output(case, backend, inputs, dtype) for dtype in ("bfloat16", "float32"))
    assert error(half, single) < BFLOAT16


def _keys_over_features(q, k, v, real):  # noqa: ANN001, ANN202
    """Efficient attention with K's softmax over the wrong axis."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return (q.softmax(-1) @ (k.softmax(-1).mT @ v)).transpose(1, 2)


def _moved_blocks(to_blocks: Callable) -> Callable:
    """Blocks that begin one token too early."""
    return lambda x, blocks: to_blocks(x.roll(1, 1), blocks)


def _mirrored(conv: Callable) -> Callable:
    """The convolution with its taps in the opposite order."""
    return lambda v, weight, bias: conv(v, weight.flip(-1), bias)


@pytest.mark.parametrize("broken", ["efficient_attention", "_to_blocks", "depthwise_conv"])
def test_parity_finds_a_fault(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_impl = pytest.importorskip("attention_impls.elfatt.torch_impl")
    case = Case("elfatt", Elfatt(block_size=16))
    inputs = draw(case, 37, (37, 20))
    assert output_error(case, "torch", inputs) < EXACT
    right = getattr(torch_impl, broken)
    wrong = {
        "efficient_attention": _keys_over_features,
        "_to_blocks": _moved_blocks(right),
        "depthwise_conv": _mirrored(right),
    }
    monkeypatch.setattr(torch_impl, broken, wrong[broken])
    assert output_error(case, "torch", inputs) > 1e-3
