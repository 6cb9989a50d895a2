"""Attention as a flax.nnx.Module: what Flax's users do with modules."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from layer_cases import drawn, made, own_arrays

jax = pytest.importorskip("jax")
nnx = pytest.importorskip("flax.nnx")
jnp = jax.numpy
NAMES = ("elfatt@block_size=16", "performer@features=16")
each = pytest.mark.parametrize("name", NAMES)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), atol=2e-6)


@each
def test_transformations_compute_the_same(name: str) -> None:
    attention = made("jax", name)
    given, _ = drawn("jax")
    q, k, v = given.values()
    lengths = jnp.array([20, 37])
    out = attention(q, k, v, lengths=lengths)
    close(nnx.jit(lambda module, *arrays: module(*arrays, lengths=lengths))(attention, q, k, v), out)
    mapped = nnx.vmap(lambda module, *arrays: module(*(each[None] for each in arrays))[0], in_axes=(None, 0, 0, 0))
    close(mapped(attention, q, k, v), attention(q, k, v))

    graph, learned, constants = nnx.split(attention, nnx.Param, ...)

    def loss(learned: Any) -> Any:
        return (nnx.merge(graph, learned, constants)(q, k, v) ** 2).sum()

    ours = jax.grad(loss)(learned)
    theirs = nnx.grad(lambda module: (module(q, k, v) ** 2).sum())(attention)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    jax.tree.map(close, ours, theirs)
    assert bool(jax.tree.leaves(ours)) == (name != "performer@features=16")


def test_a_mask_under_jit_is_that_outside() -> None:
    attention = made("jax", "elfatt@block_size=8")
    given, _ = drawn("jax")
    for first, last in ((0, 20), (17, 37), (9, 30)):
        mask = jnp.tile((jnp.arange(37) >= first) & (jnp.arange(37) < last), (2, 1))
        jitted = nnx.jit(lambda module, given, mask: module(**given, mask=mask))(attention, given, mask)
        close(jitted, attention(**given, mask=mask))


@each
def test_arrays_are_drawn_alike_inside_and_outside_of_jit(name: str) -> None:
    outside = own_arrays("jax", made("jax", name, rngs=nnx.Rngs(3)))
    inside = own_arrays("jax", nnx.jit(lambda: made("jax", name, rngs=nnx.Rngs(3)))())
    other = own_arrays("jax", made("jax", name, rngs=nnx.Rngs(4)))
    shapes = nnx.eval_shape(lambda: made("jax", name, rngs=nnx.Rngs(3)))
    for own, values in outside.items():
        np.testing.assert_array_equal(values, inside[own])
        assert not np.array_equal(values, other[own])
        assert {**shapes.params, **shapes.constants}[own].get_value().shape == values.shape


def test_learned_arrays_and_constants_are_told_apart() -> None:
    from attention_impls.flax import Constant

    performer, elfatt = made("jax", NAMES[1]), made("jax", "elfatt")
    assert set(nnx.state(performer, Constant)["constants"]) == {"projection.weight"}
    assert not jax.tree.leaves(nnx.state(performer, nnx.Param))
    assert set(nnx.state(elfatt, nnx.Param)["params"]) == {"local_conv.weight", "local_conv.bias"}


def test_copies_and_saved_modules_compute_the_same() -> None:
    attention = made("jax", NAMES[0])
    given, _ = drawn("jax")
    for copied in (nnx.clone(attention), copy.deepcopy(attention), pickle.loads(pickle.dumps(attention))):
        np.testing.assert_array_equal(copied(**given), attention(**given))
    assert nnx.split(attention)[0] == nnx.split(made("jax", NAMES[0]))[0]
    assert hash(nnx.split(attention)[0]) == hash(nnx.split(made("jax", NAMES[0]))[0])


def test_the_dtype_is_that_of_the_inputs_or_the_one_given() -> None:
    given, _ = drawn("jax")
    half = {letter: array.astype(jnp.bfloat16) for letter, array in given.items()}
    rounded = made("jax", NAMES[0], dtype=jnp.bfloat16)
    out = rounded(**given)
    assert out.dtype == made("jax", NAMES[0])(**half).dtype == jnp.bfloat16
    assert jax.tree.leaves(nnx.state(rounded))[0].dtype == jnp.float32
    assert jax.tree.leaves(nnx.state(made("jax", NAMES[0], param_dtype=jnp.bfloat16)))[0].dtype == jnp.bfloat16


@pytest.mark.skipif(not hasattr(nnx, "capture"), reason="this version of Flax has no nnx.capture")
def test_a_penalty_is_captured() -> None:
    from attention_impls.flax import Penalty

    attention = made("jax", "primal@rank=4")
    given, x = drawn("jax")
    out, captured = nnx.capture(attention, Penalty)(**given, x=x)
    parts = attention.parts({**given, "x": x}, None)
    np.testing.assert_array_equal(out, parts.out)
    np.testing.assert_array_equal(captured["penalty"][0], parts.penalty)
    assert not hasattr(attention, "penalty")
