"""The laws of attention_impls/base.py, one test a law, over every variant of every mechanism in every framework."""

from __future__ import annotations

import itertools
import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from attention_cases import (
    QUICK_COMPILE,
    Case,
    cases,
    cotangent_for,
    dims_for,
    draw,
    error,
    gradients,
    implementations,
    jax_call,
    measured_implementations,
    output,
    reference,
)
from attention_meter import footprint, jaxpr_footprint, live_elements

import attention_impls
from attention_impls.base import Laws
from attention_impls.nystrom import Options as Nystrom
from attention_impls.performer import Options as Performer

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
def test_ignores_padding(case: Case, backend: str) -> None:
    uphold(case, "ignores_padding")
    clean = draw(case, 37, LENGTHS).padded_to(37, 0.0)
    dirty = clean.padded_to(64, math.nan)  # longer: at 37 the contract alone would pass
    weight = cotangent_for(clean)
    longer = np.ones((len(weight), 64, *weight.shape[2:]))
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
        plain = replace(inputs, arrays=equality.inputs(inputs.arrays))
        expected = reference(Case("softmax", chosen), plain)
        assert error(output(Case(name, equality.options), backend, inputs), expected) < equality.tolerance


@pytest.mark.parametrize(("case", "backend"), measured_implementations())
def test_cost_grows_as_claimed(case: Case, backend: str) -> None:
    uphold(case, "cost_grows_as_claimed")
    card = case.mechanism.card
    lengths = (1024, 4096) if card.quadratic else (1024, 4096, 16384)
    dims = dims_for(lengths[-1], heads=2)
    found = {tokens: footprint(case, backend, tokens, dims.max_length) for tokens in lengths}
    claimed = {tokens: card.operations(case.options, dims, tokens) for tokens in lengths}
    held = {tokens: card.memory(case.options, dims, tokens) for tokens in lengths}
    for tokens in lengths:
        assert found[tokens].multiply_adds == pytest.approx(claimed[tokens], rel=0.15)
    for short, long in itertools.pairwise(lengths):
        work = found[long].multiply_adds / found[short].multiply_adds
        assert work == pytest.approx(claimed[long] / claimed[short], rel=0.15)
        memory = found[long].peak / found[short].peak
        if card.quadratic and backend == "torch":  # whose fused softmax keeps no scores
            assert memory <= held[long] / held[short] * 1.15
        else:
            assert memory == pytest.approx(held[long] / held[short], rel=0.15)


@pytest.mark.parametrize(
    ("case", "backend"), [each for each in measured_implementations() if not each.values[0].mechanism.card.quadratic]
)
def test_no_array_of_tokens_by_tokens(case: Case, backend: str) -> None:
    card, dims = case.mechanism.card, dims_for(32768, heads=2)
    small, large = (footprint(case, backend, tokens, 32768).largest for tokens in (4096, 32768))
    claimed = card.memory(case.options, dims, 32768) / card.memory(case.options, dims, 4096)
    assert claimed <= 8**1.5, "a memory that grows faster than N·√N is a quadratic card's"
    assert large / small <= claimed * 1.15
    assert large < 32768**2 / 8


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_meter_sees_softmax(backend: str) -> None:
    found = footprint(Case("softmax", attention_impls.load("softmax").card.options()), backend, 1024, 1024)
    assert found.multiply_adds == 2 * 2 * 8 * 1024**2
    assert found.largest == (2 * 1024**2 if backend == "jax" else 2 * 8 * 1024)  # two heads; PyTorch's kernel is fused
    assert found.peak > found.largest


def test_the_meter_of_pytorch_follows_what_is_alive() -> None:
    torch = pytest.importorskip("torch")
    given = torch.zeros(10, device="meta")
    with live_elements([given]) as meter:
        kept = given[:, None] * given  # 100
        given.view(2, 5).add_(1)  # nothing new
        (kept + 1).sum()  # 100 and 1 more, which nothing holds
        kept[:5].clone()  # 50
    assert (meter.peak, meter.largest, meter.live) == (201, 100, 100)


def test_the_meter_of_jax_follows_what_is_alive() -> None:
    jax = pytest.importorskip("jax")

    def call(given: Any) -> Any:
        kept = given[:, None] * given  # two inputs of (10, 1) and (1, 10), and 100
        return jax.lax.scan(lambda total, row: (total + row, row * 2), given, kept + 1)[1]

    found = jaxpr_footprint(jax.make_jaxpr(call)(jax.numpy.zeros(10)).jaxpr)
    assert found.largest == 100
    assert found.peak == 100 + (10 + 100) + (10 + 10)  # the scan's input, its results, and one turn of its body


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
    return lambda *inputs, layer: attend(*inputs, layer=replace(layer, lengths=None, real=None))


@pytest.mark.parametrize("law", [test_ignores_padding])
def test_a_forgotten_mask_breaks_the_laws(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_impl = pytest.importorskip("attention_impls.elfatt.torch_impl")
    monkeypatch.setattr(torch_impl, "attend", _leaky(torch_impl.attend))
    case = next(case for case in cases() if case.name == "elfatt")
    with pytest.raises(AssertionError):
        law(case, "torch")
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
