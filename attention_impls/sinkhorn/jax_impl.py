"""Sinkhorn attention in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float

from attention_impls.base import Layer
from attention_impls.ops.blocks_jax import block_attention, from_blocks, real_blocks, to_blocks
from attention_impls.ops.jax_ops import Tokens
from attention_impls.sinkhorn import SORT, Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    size = min(layer.options.block_size, tokens)
    exists = real_blocks(layer.real, tokens, size)
    q, k, v = (to_blocks(x, size) for x in (q, k, v))
    order = sorting_matrix(k, layer.params[SORT], exists[:, :, 0], layer.options).astype(v.dtype)  # eq. (sort)
    visible = None
    if layer.real is not None or tokens % size:
        # A place in a sorted block is empty only where the first block has no token there: then it is the only block.
        visible = jnp.concatenate([exists, jnp.broadcast_to(exists[:, :1], exists.shape)], 2)[:, :, None]
    keys, values = (jnp.concatenate([x, _sort(order, x)], 2) for x in (k, v))
    return from_blocks(block_attention(q, keys, values, visible), tokens)  # eq. (output)


def sorting_matrix(
    k: Float[Array, "B n b H D"], weight: Float[Array, "H D m"], exists: Bool[Array, "_ n"], options: Options
) -> Float[Array, "B H n n"]:
    """P: row i says how much of each block comes to block i; zeros for blocks that do not exist. float32 at least."""
    wide = jnp.promote_types(k.dtype, jnp.float32)
    summary = k.astype(wide).sum(2).swapaxes(1, 2)
    logits = summary @ weight[:, :, : k.shape[1]].astype(wide) / options.temperature  # eq. (logits)
    missing = ~(exists[:, :, None] & exists[:, None])[:, None]
    least = jnp.finfo(wide).min
    logits = jnp.where(missing, least, logits)
    for _ in range(options.iterations):
        for axis in (3, 2):
            logits = jnp.where(missing, least, logits - jax.nn.logsumexp(logits, axis, keepdims=True))
    return jnp.exp(logits)


def _sort(order: Float[Array, "B H n n"], x: Float[Array, "B n b H D"]) -> Float[Array, "B n b H D"]:
    """P times the blocks of every head."""
    rows = order @ rearrange(x, "B n b H D -> B H n (b D)")
    return rearrange(rows, "B H n (b D) -> B n b H D", D=x.shape[4])
