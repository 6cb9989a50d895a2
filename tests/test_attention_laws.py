"""The laws of attention_impls/base.py, one test a law, over every variant of every mechanism in every framework."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from attention_cases import (
    Case,
    cases,
    cotangent_for,
    count_jax,
    count_torch,
    dims_for,
    draw,
    error,
    gradients,
    implementations,
    output,
    reference,
)

import attention_impls
from attention_impls.base import Laws

LENGTHS = (37, 0, 1, 20)
every_implementation = pytest.mark.parametrize(("case", "backend"), implementations())


def uphold(case: Case, law: str) -> None:
    """Skip, with the card's reason, where a card switches the law off."""
    held = getattr(case.mechanism.card.laws, law)
    if held is not True:
        pytest.skip(f"{case.name}: {held}")


def bound(case: Case, backend: str) -> float:
    """How far two computations of the same thing may be apart in float64."""
    return 2e-6 if backend == "jax" and case.mechanism.card.library_softmax else 1e-12


@every_implementation
@pytest.mark.parametrize(("tokens", "garbage"), [(37, 1e4), (64, -3.0)], ids=["garbage", "longer"])
def test_ignores_padding(case: Case, backend: str, tokens: int, garbage: float) -> None:
    uphold(case, "ignores_padding")
    clean = draw(case, 37, LENGTHS).padded_to(37, 0.0)
    dirty = clean.padded_to(tokens, garbage)
    weight = cotangent_for(clean)
    longer = np.ones((len(weight), tokens, *weight.shape[2:]))
    longer[:, :37] = weight
    out, grads = gradients(case, backend, clean, weight)
    dirty_out, dirty_grads = gradients(case, backend, dirty, longer)
    assert error(dirty_out[:, :37], out) < bound(case, backend)
    for i, length in enumerate(LENGTHS):
        assert not dirty_out[i, length:].any()
    for name, grad in grads.items():
        found = dirty_grads[name][:, :37] if name in clean.arrays else dirty_grads[name]
        assert error(found, grad) < bound(case, backend), name
    for letter in clean.arrays:
        assert not any(dirty_grads[letter][i, length:].any() for i, length in enumerate(LENGTHS)), letter


@every_implementation
def test_lengths_may_be_left_out_when_all_are_real(case: Case, backend: str) -> None:
    inputs = draw(case, 37, (37,) * len(LENGTHS))
    masked = gradients(case, backend, inputs, cotangent_for(inputs))[0]
    assert error(output(case, backend, replace(inputs, lengths=None)), masked) < bound(case, backend)


@every_implementation
def test_ignores_neighbours(case: Case, backend: str) -> None:
    uphold(case, "ignores_neighbours")
    inputs = draw(case, 37, LENGTHS)
    together = gradients(case, backend, inputs, cotangent_for(inputs))[0]
    for i in range(len(LENGTHS)):
        assert error(output(case, backend, inputs.example(i)), together[i : i + 1]) < bound(case, backend)


@every_implementation
def test_finite_for_extreme_inputs(case: Case, backend: str) -> None:
    uphold(case, "finite_for_extreme_inputs")
    drawn = draw(case, 37, LENGTHS)
    inputs = replace(drawn, arrays={letter: 1e4 * array for letter, array in drawn.arrays.items()})
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs), "float32")
    for name, array in {"out": out, **grads}.items():
        assert np.isfinite(array).all(), name


@every_implementation
def test_gradients_reach_every_parameter(case: Case, backend: str) -> None:
    uphold(case, "gradients_reach_every_parameter")
    inputs = draw(case, 37, LENGTHS)
    for name, grad in gradients(case, backend, inputs, cotangent_for(inputs))[1].items():
        assert np.abs(grad).max() > 1e-6, name


@every_implementation
def test_accepts_any_length(case: Case, backend: str) -> None:
    uphold(case, "accepts_any_length")
    lengths = (1, 63, 64, 65, 1000)
    inputs = draw(case, 1000, lengths, dims=dims_for(1000, heads=2, head_dim=4))
    together = output(case, backend, inputs)
    assert np.isfinite(together).all()
    for i, length in enumerate(lengths[:-1]):
        one = inputs.example(i)
        cut = replace(one, arrays={letter: array[:, :length] for letter, array in one.arrays.items()}, lengths=None)
        assert error(output(case, backend, cut), together[i : i + 1, :length]) < bound(case, backend)


@every_implementation
def test_deterministic(case: Case, backend: str) -> None:
    uphold(case, "deterministic")
    inputs = draw(case, 37, LENGTHS)
    first, second = (gradients(case, backend, inputs, cotangent_for(inputs), "float32") for _ in range(2))
    np.testing.assert_array_equal(first[0], second[0])
    for name in first[1]:
        np.testing.assert_array_equal(first[1][name], second[1][name], err_msg=name)


@every_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shape_and_dtype_kept(case: Case, backend: str, dtype: str) -> None:
    uphold(case, "shape_and_dtype_kept")
    inputs = draw(case, 37, LENGTHS)
    out = output(case, backend, inputs, dtype)  # which asserts the dtype
    assert out.shape == (len(LENGTHS), 37, inputs.dims.heads, inputs.dims.head_dim)


@every_implementation
def test_an_empty_example_is_zero_with_finite_gradients(case: Case, backend: str) -> None:
    inputs = draw(case, 37, (0,) * len(LENGTHS))
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs))
    for name, array in {"out": out, **grads}.items():
        assert not array.any(), name


@every_implementation
def test_too_many_tokens_are_an_error(case: Case, backend: str) -> None:
    inputs = draw(case, 37, None, dims=dims_for(36))
    with pytest.raises(ValueError, match="37 tokens given, at most 36 expected"):
        output(case, backend, inputs)


def equalities() -> list[Any]:
    """(name, equality, backend) of every card that claims to be softmax attention somewhere."""
    return [
        pytest.param(name, equality, backend, id=f"{Case(name, equality.options)}-{backend}")
        for name in attention_impls.names()
        for equality in attention_impls.load(name).card.equals_softmax_when
        for backend in attention_impls.load(name).backends
    ]


@pytest.mark.parametrize(("name", "equality", "backend"), equalities())
def test_equals_softmax_when(name: str, equality: Any, backend: str) -> None:
    softmax = attention_impls.load("softmax").card
    chosen = softmax.options(local_conv=getattr(equality.options, "local_conv", False))
    for length in equality.lengths:
        inputs = draw(Case(name, equality.options), length, None)
        expected = reference(Case("softmax", chosen), inputs)
        assert error(output(Case(name, equality.options), backend, inputs), expected) < equality.tolerance


def footprint(case: Case, backend: str, tokens: int) -> tuple[int, int]:
    """Multiply-adds of the matrix products of one example, and the elements of the largest array on the way."""
    inputs = draw(case, 1, (1,), dims=dims_for(16384, heads=2))
    count = {"torch": count_torch, "jax": count_jax}[backend]
    pytest.importorskip(backend)
    return count(case, inputs, tokens)


@every_implementation
def test_cost_grows_as_claimed(case: Case, backend: str) -> None:
    uphold(case, "cost_grows_as_claimed")
    card, dims = case.mechanism.card, dims_for(16384, heads=2)
    for short in (1024,) if card.quadratic else (1024, 4096):
        (few, small), (many, large) = (footprint(case, backend, tokens) for tokens in (short, 4 * short))
        claimed = [card.operations(case.options, dims, tokens) for tokens in (short, 4 * short)]
        assert few == pytest.approx(claimed[0], rel=0.15)
        assert many / few == pytest.approx(claimed[1] / claimed[0], rel=0.15)
        if not card.quadratic:
            assert large / small < 4 * 1.15


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_meter_sees_softmax(backend: str) -> None:
    case = Case("softmax", attention_impls.load("softmax").card.options())
    multiply_adds, largest = footprint(case, backend, 1024)
    assert multiply_adds == 2 * 2 * 8 * 1024**2
    assert largest >= 1024**2


def test_every_law_has_a_test() -> None:
    for law in fields(Laws):
        assert f"test_{law.name}" in globals()


def test_every_law_that_is_off_gives_its_reason() -> None:
    for case in cases():
        for law in fields(Laws):
            held = getattr(case.mechanism.card.laws, law.name)
            assert held is True or (isinstance(held, str) and len(held) > 10)


def test_a_law_that_is_off_prints_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    case = cases()[0]
    card = replace(case.mechanism.card, laws=Laws(deterministic="it rolls dice"))
    monkeypatch.setattr(Case, "mechanism", replace(case.mechanism, card=card))
    with pytest.raises(pytest.skip.Exception, match="it rolls dice"):
        uphold(case, "deterministic")
    uphold(case, "ignores_padding")


def _leaky(attend: Any) -> Any:
    """`attend` with the lengths forgotten, which every masked law must notice."""
    return lambda *inputs, lengths, **keywords: attend(*inputs, lengths=None, **keywords)


@pytest.mark.parametrize("law", [test_ignores_padding])
def test_a_forgotten_mask_breaks_the_laws(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_impl = pytest.importorskip("attention_impls.elfatt.torch_impl")
    monkeypatch.setattr(torch_impl, "attend", _leaky(torch_impl.attend))
    case = next(case for case in cases() if case.name == "elfatt")
    with pytest.raises(AssertionError):
        law(case, "torch", 37, 1e4)
    assert math.isfinite(output(case, "torch", draw(case, 37, None)).sum())
