"""PyTorch = JAX = the NumPy reference, in float64, for every variant of every mechanism: outputs and gradients."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest
from attention_cases import (
    EXACT,
    Arrays,
    Case,
    Inputs,
    canonical,
    cases,
    cotangent_for,
    dims_for,
    draw,
    error,
    gradients,
    implementations,
    measured,
    output,
    reference,
    reference_loss,
)
from tiers import in_tiers

from attention_impls.elfatt import Options as Elfatt

BFLOAT16 = 2e-2
BATCHES = {
    "canonical": canonical,
    "130": lambda case: draw(case, 130, (130, 66)),
    "full": lambda case: draw(case, 37, None),
}


@functools.cache
def found(case: Case, backend: str, batch: str) -> tuple[np.ndarray, Arrays]:
    """Output and gradients in float64, computed once for all tests that look at them."""
    if batch == "canonical":
        return measured(case, backend)
    inputs = BATCHES[batch](case)
    return gradients(case, backend, inputs, cotangent_for(inputs))


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


@functools.cache
def slopes(case: Case) -> dict[str, tuple[np.ndarray, float]]:
    """A random direction for every input and parameter, and the reference's derivative along it."""
    inputs = canonical(case)
    rng = np.random.default_rng(2)
    known = {}
    for name, array in (inputs.arrays | inputs.params).items():
        direction = {other: np.zeros(each.shape) for other, each in (inputs.arrays | inputs.params).items()}
        direction[name] = rng.normal(size=array.shape)
        known[name] = direction[name], slope(case, inputs, cotangent_for(inputs), direction)
    return known


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize(("case", "backend"), implementations())
def test_output_equals_the_reference(case: Case, backend: str, batch: str) -> None:
    assert error(found(case, backend, batch)[0], reference(case, BATCHES[batch](case))) < EXACT


@pytest.mark.parametrize(("case", "backend"), in_tiers(implementations()))
def test_one_example_with_one_wide_head_equals_the_reference(case: Case, backend: str) -> None:
    inputs = draw(case, 41, (38,), dims=dims_for(64, heads=1, head_dim=128))
    assert output_error(case, backend, inputs) < EXACT


@pytest.mark.parametrize(("case", "backend"), implementations())
def test_gradients_agree_with_differences_of_the_reference(case: Case, backend: str) -> None:
    for name, (direction, expected) in slopes(case).items():
        along = (measured(case, backend)[1][name] * direction).sum()
        assert abs(along - expected) < 1e-6 * max(abs(expected), 1), name


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("case", cases(), ids=str)
def test_gradients_agree_between_frameworks(case: Case, batch: str) -> None:
    if len(case.mechanism.backends) < 2:
        pytest.skip(f"{case.name} is written in {case.mechanism.backends} only")
    ours, theirs = (found(case, backend, batch)[1] for backend in ("torch", "jax"))
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert error(theirs[name], ours[name]) < EXACT, name


@pytest.mark.parametrize(("case", "backend"), in_tiers(implementations()))
def test_bfloat16_is_close_to_float32(case: Case, backend: str) -> None:
    drawn = canonical(case)
    inputs = Inputs(drawn.dims, rounded(drawn.arrays), drawn.lengths, rounded(drawn.params), rounded(drawn.constants))
    half = output(case, backend, inputs, "bfloat16")
    single = gradients(case, backend, inputs, cotangent_for(inputs), "float32")[0]
    assert error(half, single) < BFLOAT16


def rounded(arrays: Arrays) -> Arrays:
    """The nearest numbers that bfloat16 has, as float64: its bits are the upper half of float32's."""
    bits = {name: array.astype(np.float32).view(np.uint32) for name, array in arrays.items()}
    nearest = {name: (word + 0x7FFF + (word >> 16 & 1)) & 0xFFFF0000 for name, word in bits.items()}  # ties to even
    return {name: word.astype(np.uint32).view(np.float32).astype(np.float64) for name, word in nearest.items()}


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
