"""Longformer attention in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Dims, Layer
from attention_impls.longformer import KEY, QUERY, VALUE, Options
from attention_impls.ops.blocks_jax import (
    block_attention,
    from_blocks,
    neighbours,
    real_blocks,
    to_blocks,
    window,
)
from attention_impls.ops.jax_ops import Real, Tokens, zero_padding


def attend(x: Float[Array, "B N C"], q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    few, size = min(layer.options.global_tokens, tokens), min(layer.options.window // 2, tokens)
    out = _ordinary(q, k, v, layer.real, size, few)  # eq. (ordinary)
    if few > 0:
        out = jnp.concatenate([_global(x, layer.real, layer.params, layer.dims, few), out[:, few:]], 1)
    return out


def _ordinary(q: Tokens, k: Tokens, v: Tokens, real: Real | None, size: int, few: int) -> Tokens:
    """One softmax over the window, without the global tokens in it, and the global tokens; rows of all tokens."""
    tokens = q.shape[1]
    exists = real_blocks(real, tokens, size)
    cells = jnp.arange(exists[0].size).reshape(exists.shape[1:])
    visible = window(exists & (cells >= few))  # eq. (seen)
    keys, values = (neighbours(to_blocks(y, size)) for y in (k, v))
    if few > 0:
        first = exists.reshape(len(exists), 1, 1, -1)[..., :few]
        visible = jnp.concatenate([jnp.broadcast_to(first, (*visible.shape[:3], few)), visible], 3)
        shape = (len(k), keys.shape[1], few, *k.shape[2:])
        keys, values = (
            jnp.concatenate([jnp.broadcast_to(y[:, None, :few], shape), near], 2)
            for y, near in ((k, keys), (v, values))
        )
    return from_blocks(block_attention(to_blocks(q, size), keys, values, visible), tokens)


def _global(
    x: Float[Array, "B N C"], real: Real | None, params: dict[str, Array], dims: Dims, few: int
) -> Float[Array, "B g H D"]:
    """The rows of the global tokens: softmax attention over every token with their own projections."""

    def project(name: str, rows: Array) -> Array:
        projected = rows @ params[f"{name}.weight"] + params.get(f"{name}.bias", 0)
        return projected.reshape(*rows.shape[:2], dims.heads, dims.head_dim)

    q, k, v = project(QUERY, x[:, :few]), project(KEY, x), zero_padding(project(VALUE, x), real)
    visible = None if real is None else real[:, None, None]
    return block_attention(q[:, None], k[:, None], v[:, None], visible)[:, 0]  # eq. (global)
