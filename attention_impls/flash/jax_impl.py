"""Flash attention in JAX: cuDNN, or a scan over blocks of keys for each block of queries."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float, Shaped

from attention_impls.base import Layer
from attention_impls.flash import Options
from attention_impls.ops.jax_ops import Real, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    if layer.kernel == "cudnn":
        # An empty example sees its first key, since no kernel defines a softmax over nothing.
        seen = None if layer.lengths is None else jnp.maximum(layer.lengths, 1).astype(jnp.int32)
        return jax.nn.dot_product_attention(
            q, k, v, query_seq_lengths=seen, key_value_seq_lengths=seen, implementation="cudnn"
        )
    return _scan(q, k, v, layer.real, min(layer.options.block_size, q.shape[1]))


def _scan(q: Tokens, k: Tokens, v: Tokens, real: Real | None, block: int) -> Tokens:
    """One block of queries after the other; nothing but their inputs is kept for the backward pass."""
    if real is None and q.shape[1] % block:
        real = jnp.ones(q.shape[:2], bool)
    queries, keys, values = (_blocks(x.swapaxes(1, 2), 2, block) for x in (q, k, v))
    visible = None if real is None else _blocks(real, 1, block)

    def rows(query: Float[Array, "B H w D"]) -> Float[Array, "B H w D"]:
        return _rows(query, keys, values, visible)

    out = jax.lax.map(jax.checkpoint(rows, prevent_cse=False), queries)
    return rearrange(out, "M B H w D -> B (M w) H D")[:, : q.shape[1]]


def _rows(
    query: Float[Array, "B H w D"],
    keys: Float[Array, "M B H w D"],
    values: Float[Array, "M B H w D"],
    visible: Bool[Array, "M B w"] | None,
) -> Float[Array, "B H w D"]:
    """Softmax attention of one block of queries, with a running maximum and sum; zeros where no key is visible."""
    wide = jnp.promote_types(query.dtype, jnp.float32)
    lowest = jnp.finfo(wide).min

    def step(carry: tuple[Array, Array, Array], part: tuple[Array, Array, Array | None]) -> tuple[tuple, None]:
        top, total, out = carry
        key, value, seen = part
        scores = jnp.einsum("bhid,bhjd->bhij", query, key, preferred_element_type=wide) / math.sqrt(query.shape[-1])
        if seen is not None:
            scores = jnp.where(seen[:, None, None], scores, lowest)
        # The result does not depend on the maximum, so neither does its gradient.
        higher = jax.lax.stop_gradient(jnp.maximum(top, scores.max(-1, keepdims=True)))
        weights = jnp.exp(scores - higher)
        if seen is not None:
            weights = jnp.where(seen[:, None, None], weights, 0)
        fade = jnp.exp(top - higher)
        added = jnp.einsum("bhij,bhjd->bhid", weights.astype(value.dtype), value, preferred_element_type=wide)
        return (higher, fade * total + weights.sum(-1, keepdims=True), fade * out + added), None  # eq. (running)

    column = jnp.zeros((*query.shape[:-1], 1), wide)
    start = (column + lowest, column, jnp.zeros(query.shape, wide))
    (_, total, out), _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, (keys, values, visible))
    return (out / jnp.where(total > 0, total, 1)).astype(query.dtype)  # eq. (output)


def _blocks(x: Shaped[Array, "*shape"], axis: int, block: int) -> Shaped[Array, "M *cut"]:
    """The blocks of an axis, in front; zeros behind the last one."""
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, -x.shape[axis] % block)
    x = jnp.pad(x, widths)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], -1, block, *x.shape[axis + 1 :]), axis, 0)
