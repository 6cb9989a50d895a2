"""The laws of attention_impls/base.py, one test a law, over every variant of every mechanism in every framework."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from attention_cases import (
    EXACT,
    LENGTHS,
    QUICK_COMPILE,
    TOKENS,
    Case,
    canonical,
    cases,
    cotangent_for,
    default_implementations,
    dims_for,
    draw,
    error,
    gradients,
    implementations,
    jax_call,
    measured,
    output,
    reference,
    uphold,
)
from tiers import in_tiers

import attention_impls
from attention_impls.base import Laws
from attention_impls.nystrom import Options as Nystrom
from attention_impls.performer import Options as Performer

MANY_LENGTHS = (1, 63, 64, 65, 1000)
SAME = 1e-12
"""How far two computations of the same thing may be apart in float64."""

every_implementation = pytest.mark.parametrize(("case", "backend"), in_tiers(implementations()))
# Where JAX would compile another program for what parity with the reference says of every variant, one variant does.
default_implementation = pytest.mark.parametrize(("case", "backend"), default_implementations())


@every_implementation
def test_ignores_padding(case: Case, backend: str) -> None:
    uphold(case, "ignores_padding")
    inputs = canonical(case)
    out, grads = measured(case, backend)
    dirty, dirty_grads = gradients(case, backend, inputs.padded_to(TOKENS, math.nan), cotangent_for(inputs))
    assert error(dirty, out) < SAME
    # Without any padding behind the longest, since zeros there may hide a mask that was forgotten.
    assert error(out[:, :37], reference(case, inputs.cut(37))) < EXACT
    for i, length in enumerate(LENGTHS):
        assert not dirty[i, length:].any()
    for name, grad in grads.items():
        assert error(dirty_grads[name], grad) < SAME, name
    for letter in inputs.arrays:
        assert not any(dirty_grads[letter][i, length:].any() for i, length in enumerate(LENGTHS)), letter


@default_implementation
def test_longer_arrays_change_nothing(case: Case, backend: str) -> None:
    uphold(case, "ignores_padding")
    out, grads = measured(case, backend)
    weight = cotangent_for(canonical(case))[:, :37]
    short = canonical(case).cut(37)
    short_out, short_grads = gradients(case, backend, short, weight)
    assert error(short_out, out[:, :37]) < SAME
    for name, grad in grads.items():
        kept = grad[:, :37] if name in short.arrays else grad
        assert error(short_grads[name], kept) < SAME, name


@pytest.mark.parametrize("case", cases(), ids=str)
def test_the_reference_takes_longer_arrays_and_lengths_that_say_nothing(case: Case) -> None:
    """With parity this gives every variant, in every framework, two laws that only the default ones are tried on."""
    inputs, bound = canonical(case), 1e-12
    if case.mechanism.card.laws.ignores_padding is True:
        assert error(reference(case, inputs.cut(37)), reference(case, inputs)[:, :37]) < bound
    full = draw(case, 37, (37,) * len(LENGTHS))
    assert error(reference(case, replace(full, lengths=None)), reference(case, full)) < bound


@default_implementation
def test_lengths_may_be_left_out_when_all_are_real(case: Case, backend: str) -> None:
    inputs = draw(case, TOKENS, (TOKENS,) * len(LENGTHS))
    masked = gradients(case, backend, inputs, cotangent_for(inputs))[0]
    assert error(output(case, backend, replace(inputs, lengths=None)), masked) < SAME


@every_implementation
def test_ignores_neighbours(case: Case, backend: str) -> None:
    uphold(case, "ignores_neighbours")
    inputs = canonical(case)
    together = measured(case, backend)[0]
    others = draw(case, TOKENS, (64, 11, 50, 3), seed=7)
    weight = cotangent_for(inputs)
    for i in range(len(LENGTHS)):
        lone = gradients(case, backend, others.with_example(i, inputs), weight)[0]
        assert error(lone[i : i + 1], together[i : i + 1]) < SAME


@default_implementation
def test_ignores_how_many_neighbours(case: Case, backend: str) -> None:
    uphold(case, "ignores_neighbours")
    together = measured(case, backend)[0]
    for i in range(len(LENGTHS)):
        alone = output(case, backend, canonical(case).of(slice(i, i + 1)))
        assert error(alone, together[i : i + 1]) < SAME


@every_implementation
def test_finite_for_extreme_inputs(case: Case, backend: str) -> None:
    uphold(case, "finite_for_extreme_inputs")
    drawn = canonical(case)
    for size in (1e3, 1e4):
        inputs = replace(drawn, arrays={letter: size * array for letter, array in drawn.arrays.items()})
        out, grads = gradients(case, backend, inputs, cotangent_for(inputs), "float32")
        for name, array in {"out": out, **(grads if size == 1e3 else {})}.items():
            assert np.isfinite(array).all(), name


@every_implementation
def test_gradients_reach_every_parameter(case: Case, backend: str) -> None:
    uphold(case, "gradients_reach_every_parameter")
    for name, grad in measured(case, backend)[1].items():
        assert np.abs(grad).max() > 1e-6, name


@every_implementation
def test_accepts_any_length(case: Case, backend: str) -> None:
    uphold(case, "accepts_any_length")
    inputs = draw(case, 1000, MANY_LENGTHS, dims=dims_for(1000, heads=2, head_dim=4))
    together = output(case, backend, inputs)
    assert np.isfinite(together).all()
    short = inputs.of(slice(4)).cut(65)  # references are slow
    assert error(together[:4, :65], reference(case, short)) < EXACT


@default_implementation
def test_each_length_alone_is_what_it_is_among_others(case: Case, backend: str) -> None:
    uphold(case, "accepts_any_length")
    inputs = draw(case, 1000, MANY_LENGTHS, dims=dims_for(1000, heads=2, head_dim=4))
    together = output(case, backend, inputs)
    for i, length in enumerate(MANY_LENGTHS[:-1]):
        cut = replace(inputs.of(slice(i, i + 1)).cut(length), lengths=None)
        assert error(output(case, backend, cut), together[i : i + 1, :length]) < SAME


@every_implementation
def test_deterministic(case: Case, backend: str) -> None:
    uphold(case, "deterministic")
    inputs = canonical(case)
    first = measured(case, backend, "float32")
    second = gradients(case, backend, inputs, cotangent_for(inputs), "float32")
    np.testing.assert_array_equal(first[0], second[0])
    for name in first[1]:
        np.testing.assert_array_equal(first[1][name], second[1][name], err_msg=name)


@every_implementation
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_shape_and_dtype_kept(case: Case, backend: str, dtype: str) -> None:
    uphold(case, "shape_and_dtype_kept")
    inputs = canonical(case)
    # `gradients` asserts the dtype; float32 has a program with gradients already, bfloat16 needs none.
    out = measured(case, backend, dtype)[0] if dtype == "float32" else output(case, backend, inputs, dtype)
    assert out.shape == (len(LENGTHS), TOKENS, inputs.dims.heads, inputs.dims.head_dim)


@every_implementation
def test_an_empty_example_is_zero_with_finite_gradients(case: Case, backend: str) -> None:
    inputs = draw(case, TOKENS, (0,) * len(LENGTHS))
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs))
    for name, array in {"out": out, **grads}.items():
        assert not array.any(), name


@every_implementation
def test_too_many_tokens_are_an_error(case: Case, backend: str) -> None:
    inputs = draw(case, 37, None, dims=dims_for(36))
    with pytest.raises(ValueError, match="37 tokens given, expected at most 36"):
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
        plain = replace(inputs, arrays=equality.inputs(inputs.arrays))
        expected = reference(Case("softmax", chosen), plain)
        assert error(output(Case(name, equality.options), backend, inputs), expected) < equality.tolerance


def test_every_law_has_a_test() -> None:
    tests = globals() | vars(import_module("test_attention_cost"))
    for law in fields(Laws):
        assert f"test_{law.name}" in tests


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
    return lambda *inputs, layer: attend(*inputs, layer=replace(layer, lengths=None, real=None))


@pytest.mark.parametrize("law", [test_ignores_padding])
def test_a_forgotten_mask_breaks_the_laws(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_impl = pytest.importorskip("attention_impls.elfatt.torch_impl")
    monkeypatch.setattr(torch_impl, "attend", _leaky(torch_impl.attend))
    case = next(case for case in cases() if case.name == "elfatt")
    measured.cache_clear()
    with pytest.raises(AssertionError):
        law(case, "torch")
    measured.cache_clear()
    assert math.isfinite(output(case, "torch", draw(case, 37, None)).sum())


TIED = (Case("performer", Performer(features=7)), Case("nystrom", Nystrom(landmarks=4, conv_kernel=0)))


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("case", TIED, ids=str)
def test_gradients_at_ties_are_finite_and_shared(case: Case, level: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where several elements are the largest, both frameworks share the gradient among them, however XLA compiles."""
    monkeypatch.setitem(QUICK_COMPILE, "xla_backend_optimization_level", level)
    jax_call.cache_clear()  # which knows nothing of the level
    drawn = draw(case, 37, None, dims=dims_for(64, heads=2, head_dim=1))
    equal = {letter: np.repeat(array[:, :1], 37, 1) for letter, array in drawn.arrays.items()}
    for arrays in (drawn.arrays, equal):
        inputs = replace(drawn, arrays=arrays)
        ours, theirs = (gradients(case, each, inputs, cotangent_for(inputs))[1] for each in ("torch", "jax"))
        scale = max(np.abs(grad).max() for grad in ours.values())
        for name, grad in ours.items():
            assert np.abs(theirs[name] - grad).max() < 1e-9 * scale, name
    jax_call.cache_clear()
