"""Sparse Transformer attention in JAX.

In the strided pattern the window and the columns are attended to apart, each in a layout of its own, and joined into
one softmax by their normalisers.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from attention_impls.base import Layer
from attention_impls.ops.blocks_jax import block_attention, from_blocks, neighbours, real_blocks, to_blocks, window
from attention_impls.sparse import Options

Part = tuple[Float[Array, "B H N D"], Float[Array, "B H N 1"]]
"""A softmax over some of the keys, times their values; and the logarithm of its normaliser."""


def attend(
    q: Float[Array, "B N H D"], k: Float[Array, "B N H D"], v: Float[Array, "B N H D"], layer: Layer[Options]
) -> Float[Array, "B N H D"]:
    if layer.options.pattern == "fixed":
        return _fixed(q, k, v, layer.real, layer.options)
    near, far = (
        _window(q, k, v, layer.real, layer.options.stride // 2),
        _columns(q, k, v, layer.real, layer.options.stride),
    )
    return _join(near, far).swapaxes(1, 2)


def _fixed(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    real: Bool[Array, "B N"] | None,
    options: Options,
) -> Float[Array, "B N H D"]:
    """One softmax over the own block and the last tokens of every other block."""
    tokens, ends = q.shape[1], slice(-options.summary, None)
    exists = real_blocks(real, tokens, options.stride)
    q, k, v = (to_blocks(x, options.stride) for x in (q, k, v))
    blocks = q.shape[1]

    def with_ends(x: Array) -> Array:
        every = x[:, :, ends].reshape(len(x), 1, -1, *x.shape[3:])
        return jnp.concatenate([x, jnp.repeat(every, blocks, 1)], 2)

    other = ~jnp.repeat(jnp.eye(blocks, dtype=bool), options.summary, 1)
    allowed = jnp.concatenate([jnp.ones_like(exists[0]), other], 1)
    visible = (with_ends(exists) & allowed)[:, :, None]
    return from_blocks(block_attention(q, with_ends(k), with_ends(v), visible), tokens)


def _window(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    real: Bool[Array, "B N"] | None,
    half: int,
) -> Part:
    """The keys at most `half` away."""
    tokens = q.shape[1]
    size = min(half, tokens)
    visible = window(real_blocks(real, tokens, size))[:, None]
    q, k, v = (to_blocks(x, size) for x in (q, k, v))
    q, k, v = (jnp.moveaxis(x, 3, 1) for x in (q, neighbours(k), neighbours(v)))
    out, normaliser = _attention(q, k, v, visible)
    return _tokens(out, tokens), _tokens(normaliser, tokens)


def _columns(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    real: Bool[Array, "B N"] | None,
    stride: int,
) -> Part:
    """The other keys at the same place modulo the stride."""
    tokens = q.shape[1]
    exists = real_blocks(real, tokens, stride).mT[:, None, :, None]
    other = ~jnp.eye(exists.shape[-1], dtype=bool)
    q, k, v = (to_blocks(x, stride).transpose(0, 3, 2, 1, 4) for x in (q, k, v))
    out, normaliser = (x.swapaxes(2, 3) for x in _attention(q, k, v, exists & other))
    return _tokens(out, tokens), _tokens(normaliser, tokens)


def _attention(q: Array, k: Array, v: Array, visible: Array) -> tuple[Array, Array]:
    """softmax(q kᵀ / √D) v and the logarithm of its normaliser, a hugely negative number where no key is visible."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.matmul(q, k.mT, preferred_element_type=wide) / math.sqrt(q.shape[-1])
    scores = jnp.where(visible, scores, jnp.finfo(wide).min)
    normaliser = jax.nn.logsumexp(scores, -1, keepdims=True)
    return jnp.exp(scores - normaliser).astype(v.dtype) @ v, normaliser


def _tokens(x: Float[Array, "B H n b X"], tokens: int) -> Float[Array, "B H N X"]:
    """x without the blocks."""
    return x.reshape(*x.shape[:2], -1, x.shape[-1])[:, :, :tokens]


def _join(near: Part, far: Part) -> Float[Array, "B H N D"]:
    """The softmax over the keys of both parts."""
    total = jnp.logaddexp(near[1], far[1])
    first, second = (jnp.exp(normaliser - total).astype(out.dtype) * out for out, normaliser in (near, far))
    return first + second
