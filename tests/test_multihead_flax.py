"""A mechanism in the place of flax.nnx.MultiHeadAttention, and of the function that it calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attention_impls.base import AttentionError

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
jnp = jax.numpy
REAL = np.arange(9) < np.array([[5], [9], [1]])
MASKS = {
    "none": None,
    "of keys": REAL[:, None, None],
    "in front": REAL[:, None, None, ::-1],
    "of pairs": REAL[:, None, :, None] & REAL[:, None, None],
}


def documents() -> Any:
    return jnp.asarray(np.random.default_rng(1).normal(size=(3, 9, 16)), jnp.float32)


def real_rows(kind: str) -> Any:
    return np.ones((3, 9), bool) if kind == "none" else REAL[:, ::-1] if kind == "in front" else REAL


@pytest.mark.parametrize("kind", MASKS)
def test_softmax_is_the_attention_of_flax(kind: str) -> None:
    from attention_impls.flax import MultiHeadAttention, attention_fn

    theirs = nnx.MultiHeadAttention(4, 16, decode=False, rngs=nnx.Rngs(0))
    ours = MultiHeadAttention(4, 16, rngs=nnx.Rngs(0))
    plugged = nnx.MultiHeadAttention(4, 16, decode=False, attention_fn=attention_fn("softmax"), rngs=nnx.Rngs(0))
    mask = MASKS[kind] if MASKS[kind] is None else jnp.asarray(MASKS[kind])
    expected = theirs(documents(), mask=mask)[real_rows(kind)]
    for layer in (ours, plugged):
        np.testing.assert_allclose(layer(documents(), mask=mask)[real_rows(kind)], expected, atol=2e-6)


@pytest.mark.slow
def test_a_mechanism_with_arrays_learns_under_jit() -> None:
    from attention_impls.flax import MultiHeadAttention

    model = MultiHeadAttention(4, 16, mechanism="elfatt", block_size=4, rngs=nnx.Rngs(0))
    assert model.attention.options.block_size == 4
    lengths = jnp.array([5, 9, 1])
    out = nnx.jit(lambda model, x, mask: model(x, mask=mask))(model, documents(), jnp.asarray(MASKS["of keys"]))
    np.testing.assert_allclose(out, model(documents(), lengths=lengths), atol=2e-6)
    gradient = nnx.grad(lambda model: model(documents(), lengths=lengths).sum())(model)
    assert all(np.asarray(each).any() for each in jax.tree.leaves(gradient["attention"]))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mask": np.tril(np.ones((3, 1, 9, 9), bool))}, "mask hides real tokens from some queries"),
        ({"mask": REAL}, r"mask is bool of shape \(3, 9\), expected bool of \(B, 1, 1, N\)"),
        ({"mask": np.zeros((3, 1, 1, 9))}, "mask is float32 of shape"),
        ({"inputs_k": np.zeros((3, 9, 16))}, "inputs_k or inputs_v given, but softmax is self-attention"),
        ({"is_causal": True}, "is_causal or decode is given, but softmax is bidirectional"),
        ({"sow_weights": True}, "bias, module or sow_weights is given, but softmax has no attention weights"),
    ],
)
def test_what_no_mechanism_does_is_told_in_one_line(given: dict[str, Any], said: str) -> None:
    from attention_impls.flax import MultiHeadAttention

    model = MultiHeadAttention(4, 16, rngs=nnx.Rngs(0))
    given = {name: jnp.asarray(each) if isinstance(each, np.ndarray) else each for name, each in given.items()}
    with pytest.raises(AttentionError, match=rf"^{said}[^\n]*$"):
        model(documents(), **given)


def test_a_mask_of_pairs_is_refused_where_nobody_can_look_at_it() -> None:
    from attention_impls.flax import MultiHeadAttention

    model, mask = MultiHeadAttention(4, 16, rngs=nnx.Rngs(0)), jnp.asarray(MASKS["of pairs"])
    with pytest.raises(AttentionError, match="under jit, expected"):
        nnx.jit(lambda model, x, mask: model(x, mask=mask))(model, documents(), mask)


@pytest.mark.parametrize(
    ("mechanism", "said"),
    [
        ("elfatt", "elfatt needs more than q, k and v"),
        ("primal", "primal needs more than"),
        ("linformer", "linformer has arrays for max_length tokens"),
        ("softmaks", "unknown attention"),
    ],
)
def test_a_function_has_no_arrays(mechanism: str, said: str) -> None:
    from attention_impls.flax import attention_fn

    with pytest.raises(AttentionError, match=said):
        attention_fn(mechanism)
    assert callable(attention_fn("elfatt", local_conv=False, block_size=4))


@pytest.mark.parametrize("given", [{"dropout_rate": 0.1}, {"num_kv_heads": 2}, {"in_kv_features": 8}])
def test_arguments_that_cannot_be_had_are_told_in_one_line(given: dict[str, Any]) -> None:
    from attention_impls.flax import MultiHeadAttention

    with pytest.raises(AttentionError, match=next(iter(given))):
        MultiHeadAttention(4, 16, rngs=nnx.Rngs(0), **given)
