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
    """One block of queries after the other; nothing but their inputs is kept for the backward pass.

    A CPU takes one head of one example after the other, whose blocks stay in a core's cache. A GPU takes all at once.
    """
    tokens, heads = q.shape[1:3]
    if real is None and tokens % block:
        real = jnp.ones(q.shape[:2], bool)
    queries, keys, values = (_blocks(rearrange(x, "B N H D -> (B H) N D"), block) for x in (q, k, v))
    given = queries, keys, values, None if real is None else jnp.repeat(_blocks(real, block), heads, 0)
    out = jax.lax.map(_row, given) if jax.default_backend() == "cpu" else jax.vmap(_row)(given)
    return rearrange(out, "(B H) M w D -> B (M w) H D", H=heads)[:, :tokens]


def _row(given: tuple[Array, Array, Array, Array | None]) -> Float[Array, "M w D"]:
    """One head of one example: its queries, keys and values in blocks (M, w, D), and which keys are real (M, w)."""
    queries, keys, values, visible = given

    def attend_one(query: Float[Array, "w D"]) -> Float[Array, "w D"]:
        return _block(query, keys, values, visible)

    return jax.lax.map(jax.checkpoint(attend_one, prevent_cse=False), queries)


def _block(
    query: Float[Array, "w D"],
    keys: Float[Array, "M w D"],
    values: Float[Array, "M w D"],
    visible: Bool[Array, "M w"] | None,
) -> Float[Array, "w D"]:
    """Softmax attention of one block of queries, with a running maximum and sum; zeros where no key is visible."""
    wide = jnp.promote_types(query.dtype, jnp.float32)
    lowest = jnp.finfo(wide).min

    def step(carry: tuple[Array, Array, Array], part: tuple[Array, Array, Array | None]) -> tuple[tuple, None]:
        top, total, out = carry
        key, value, seen = part
        scores = jnp.einsum("id,jd->ij", query, key, preferred_element_type=wide) / math.sqrt(query.shape[-1])
        if seen is not None:
            scores = jnp.where(seen, scores, lowest)
        # The result does not depend on the maximum, so neither does its gradient.
        higher = jax.lax.stop_gradient(jnp.maximum(top, scores.max(-1, keepdims=True)))
        weights = jnp.exp(scores - higher)
        if seen is not None:
            weights = jnp.where(seen, weights, 0)
        fade = jnp.exp(top - higher)
        added = jnp.einsum("ij,jd->id", weights.astype(value.dtype), value, preferred_element_type=wide)
        return (higher, fade * total + weights.sum(-1, keepdims=True), fade * out + added), None  # eq. (running)

    column = jnp.zeros((*query.shape[:-1], 1), wide)
    start = (column + lowest, column, jnp.zeros(query.shape, wide))
    (_, total, out), _ = jax.lax.scan(jax.checkpoint(step, prevent_cse=False), start, (keys, values, visible))
    return (out / jnp.where(total > 0, total, 1)).astype(query.dtype)  # eq. (output)


def _blocks(x: Shaped[Array, "R N *rest"], block: int) -> Shaped[Array, "R M w *rest"]:
    """The tokens in blocks, zeros behind the last one."""
    widths = [(0, 0)] * x.ndim
    widths[1] = (0, -x.shape[1] % block)
    x = jnp.pad(x, widths)
    return x.reshape(len(x), -1, block, *x.shape[2:])
