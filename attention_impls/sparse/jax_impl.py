"""Sparse Transformer attention in JAX.

In the strided pattern, attention to the window and to the columns is computed separately, each in its own layout. Their
normalisers join both into one softmax.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.blocks_jax import block_attention, from_blocks, neighbours, real_blocks, to_blocks, window
from attention_impls.ops.jax_ops import Real, Tokens
from attention_impls.sparse import Options

Part = tuple[Float[Array, "B H N D"], Float[Array, "B H N 1"]]
"""A softmax over some of the keys, times their values; and the logarithm of its normaliser."""


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    if layer.options.pattern == "fixed":
        return _fixed(q, k, v, layer.real, layer.options)  # eq. (fixed)
    near = _window(q, k, v, layer.real, layer.options.stride // 2)  # eq. (strided), its window
    far = _columns(q, k, v, layer.real, layer.options.stride)  # eq. (strided), the other tokens in it
    return _join(near, far).swapaxes(1, 2)  # eq. (output)


def _fixed(q: Tokens, k: Tokens, v: Tokens, real: Real | None, options: Options) -> Tokens:
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
    return from_blocks(block_attention(q, with_ends(k), with_ends(v), visible), tokens)  # eq. (output)


def _window(q: Tokens, k: Tokens, v: Tokens, real: Real | None, half: int) -> Part:
    """The keys at most `half` away."""
    tokens = q.shape[1]
    size = min(half, tokens)
    visible = window(real_blocks(real, tokens, size))[:, None]
    q, k, v = (to_blocks(x, size) for x in (q, k, v))
    q, k, v = (rearrange(x, "B n b H D -> B H n b D") for x in (q, neighbours(k), neighbours(v)))
    out, normaliser = (rearrange(x, "B H n b D -> B H (n b) D") for x in _attention(q, k, v, visible))
    return out[:, :, :tokens], normaliser[:, :, :tokens]


def _columns(q: Tokens, k: Tokens, v: Tokens, real: Real | None, stride: int) -> Part:
    """The other keys at the same place modulo the stride."""
    tokens = q.shape[1]
    exists = real_blocks(real, tokens, stride).mT[:, None, :, None]
    other = ~jnp.eye(exists.shape[-1], dtype=bool)
    q, k, v = (rearrange(to_blocks(x, stride), "B n s H D -> B H s n D") for x in (q, k, v))
    out, normaliser = (rearrange(x, "B H s n D -> B H (n s) D") for x in _attention(q, k, v, exists & other))
    return out[:, :, :tokens], normaliser[:, :, :tokens]


def _attention(q: Array, k: Array, v: Array, visible: Array) -> tuple[Array, Array]:
    """softmax(q kᵀ / √D) v and the logarithm of its normaliser, a hugely negative number where no key is visible."""
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.matmul(q, k.mT, preferred_element_type=wide) / math.sqrt(q.shape[-1])
    scores = jnp.where(visible, scores, jnp.finfo(wide).min)
    normaliser = jax.nn.logsumexp(scores, -1, keepdims=True)
    return jnp.exp(scores - normaliser).astype(v.dtype) @ v, normaliser


def _join(near: Part, far: Part) -> Float[Array, "B H N D"]:
    """The softmax over the keys of both parts."""
    total = jnp.logaddexp(near[1], far[1])
    first, second = (jnp.exp(normaliser - total).astype(out.dtype) * out for out, normaliser in (near, far))
    return first + second
