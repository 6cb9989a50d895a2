"""Luna: what it hands on, from layer to layer, against its reference; its first rows; a training of two layers."""

from __future__ import annotations

from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, Inputs, dims_for, draw, error

from attention_impls.base import AttentionError
from attention_impls.luna import ASK, CARD, SCALE, SHIFT, START, TELL, Options
from lra.model.weights import initial_weights
from tests import small

BACKENDS = ("torch", "jax")
CASE = Case("luna", Options(packed=5))
LENGTHS = (20, 0, 1, 13)


def drawn(tokens: int = 20, lengths: tuple[int, ...] | None = LENGTHS, seed: int = 0) -> Inputs:
    return draw(CASE, tokens, lengths, dims=dims_for(20, heads=2, head_dim=4), seed=seed)


def parts(backend: str, inputs: Inputs, carry: np.ndarray | None, index: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Output and what is handed on, by one framework or by the reference, in float64."""
    where: dict[str, Any] = {"options": CASE.options, "dims": inputs.dims, "index": index, "depth": 2}
    params = {name: array for name, array in inputs.params.items() if index == 0 or name != START}
    given = [inputs.arrays[letter] for letter in ("q", "k")]
    if backend == "reference":
        where |= {"params": params, "constants": {}, "lengths": inputs.lengths, "carry": carry}
        return CASE.mechanism.reference()(*given, **where)
    xp = pytest.importorskip("torch" if backend == "torch" else "jax.numpy")

    def call() -> tuple[np.ndarray, np.ndarray]:
        learned = {name: xp.asarray(array) for name, array in params.items()}
        more = {"lengths": None if inputs.lengths is None else xp.asarray(inputs.lengths)}
        more |= {"carry": None if carry is None else xp.asarray(carry), "params": learned, "constants": {}}
        out, after = CASE.mechanism.attend(backend)(*(xp.asarray(each) for each in given), **more, **where)
        return np.asarray(out), np.asarray(after)

    if backend == "torch":
        return call()
    import jax

    with jax.enable_x64(True):
        return call()


@pytest.mark.parametrize("backend", BACKENDS)
def test_two_layers_hand_on_what_the_reference_hands_on(backend: str) -> None:
    first, second = drawn(), drawn(seed=3)
    below, its = parts(backend, first, None), parts("reference", first, None)
    above, expected = parts(backend, second, below[1], 1), parts("reference", second, its[1], 1)
    for found, wanted in zip((*below, *above), (*its, *expected), strict=True):
        assert error(found, wanted) < 1e-12
    assert error(parts("reference", second, None)[0], expected[0]) > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_handed_on_knows_nothing_of_padding(backend: str) -> None:
    """Nor of neighbours; an example without tokens hands on what it was given."""
    inputs = drawn()
    carry = parts(backend, inputs, None)[1]
    dirty = parts(backend, inputs.padded_to(20, np.nan), None)[1]
    np.testing.assert_array_equal(dirty, carry)
    alone = replace(inputs.of(slice(3, 4)).cut(13), lengths=None)
    assert error(parts(backend, alone, None)[1][0], carry[3]) < 1e-12
    np.testing.assert_allclose(carry[1], np.sqrt(8) * inputs.params[START], atol=1e-12)


def test_a_row_packs_the_token_that_it_asks_for() -> None:
    """Rows that are far apart, and keys that are their questions: each row packs its token, each token gets it back."""
    inputs = draw(CASE, 5, None, batch=1, dims=dims_for(5, heads=1, head_dim=8))
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    rows = basis[:5] - basis[:5].mean(1, keepdims=True)
    inputs.params.update({SCALE: np.full(8, 1e3), SHIFT: np.zeros(8), ASK: np.eye(8), TELL: np.eye(8)})
    inputs.params[START] = rows / np.sqrt(8)
    inputs.arrays["k"][0, :, 0] = rows[[3, 1, 4, 0, 2]]
    inputs.arrays["q"][0, :, 0] = 1e6 * rows[[2, 2, 0, 1, 4]]
    out, carry = parts("reference", inputs, None)
    np.testing.assert_allclose(out[0, :, 0], rows[[2, 2, 0, 1, 4]], atol=1e-9)
    np.testing.assert_allclose(carry[0], 2 * rows, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_above_without_what_is_handed_on_is_told(backend: str) -> None:
    with pytest.raises(AttentionError, match=r"^layer 1 has no carry: give it the carry of the layer below$"):
        parts(backend, drawn(), None, index=1)


def test_only_the_first_layer_has_first_rows() -> None:
    plan = small.blueprint("luna")
    weights = initial_weights(plan)
    assert [name for name in weights if name.endswith(f".{START}")] == [f"layers.0.attention.{START}"]
    rng = np.random.default_rng
    whole, above = (CARD.learned(Options(), plan.dims, rng(0), index) for index in (0, 1))
    assert whole.keys() - above.keys() == {START}
    for name, array in above.items():
        np.testing.assert_array_equal(array, whole[name])
    assert CARD.learned(Options(), plan.dims, rng(0))[START].var() * plan.dims.width == pytest.approx(1, rel=0.1)


def test_the_modules_of_layers_above_have_no_first_rows() -> None:
    torch = pytest.importorskip("torch")
    from attention_impls.torch import Attention

    first, second = (
        Attention("luna", heads=2, head_dim=4, max_length=20, index=index, depth=2, seed=0, packed=5)
        for index in (0, 1)
    )
    assert dict(first.named_parameters()).keys() - dict(second.named_parameters()).keys() == {START}
    q, k = torch.ones(2, 1, 20, 2, 4).unbind()
    first(q, k)
    assert second(q, k, carry=first.carry).shape == q.shape


def test_a_training_of_two_layers_agrees_in_both_frameworks() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    plan = small.blueprint("luna")
    plan = replace(plan, options=Options(packed=5))
    feed, weights = small.chunks(small.split()), initial_weights(plan)
    ours, state, backend = small.losses("torch", plan, weights, feed)
    theirs = small.losses("jax", plan, weights, feed)[0]
    np.testing.assert_allclose(ours, theirs, rtol=2e-5)
    after = backend.weights(state)[0]
    for name in (START, ASK, TELL):
        assert np.abs(after[f"layers.0.attention.{name}"] - weights[f"layers.0.attention.{name}"]).max() > 1e-3


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_layer_that_hands_nothing_on_is_refused(backend: str) -> None:
    """In MultiheadAttention every layer would begin anew, which is another model."""
    pytest.importorskip(backend)
    if backend == "torch":
        from attention_impls.torch import MultiheadAttention

        made: Any = partial(MultiheadAttention, 8, 2)
    else:
        from flax import nnx

        from attention_impls.flax import MultiHeadAttention

        made = partial(MultiHeadAttention, 2, 8, rngs=nnx.Rngs(0))
    with pytest.raises(AttentionError, match=r"^luna passes a carry from layer to layer, .*: use Attention"):
        made(mechanism="luna")


def test_heads_that_do_not_make_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^width is 9, expected heads × head_dim, which is 8"):
        CARD.check(Options(), replace(dims_for(20, heads=2, head_dim=4), width=9))
    assert asdict(Options()) == {"packed": 128}
