"""A few summary tokens in place of many, in JAX: segment means, attention to or from them, a small inverse.

Axis letters: attention_impls/base.py, and m for the summary tokens.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from attention_impls.ops.jax_ops import Lengths, Tokens, largest


def cross_attention(
    q: Float[Array, "B n H D"],
    k: Float[Array, "B m H D"],
    v: Float[Array, "B m H D"],
    visible: Bool[Array, "B m"] | None,
    bias: Float[Array, "_ H n m"] | None = None,
) -> Float[Array, "B n H D"]:
    """softmax(q kᵀ / √D + bias) v over visible keys; queries and keys of any two counts.

    A finite fill keeps the softmax over no key finite.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    scores = jnp.matmul(q, k.mT, preferred_element_type=wide) / math.sqrt(q.shape[-1])
    if bias is not None:
        scores = scores + bias
    if visible is not None:
        scores = jnp.where(visible[:, None, None, :], scores, jnp.finfo(wide).min)
    return (jax.nn.softmax(scores, -1).astype(v.dtype) @ v).swapaxes(1, 2)


def take_tokens(x: Tokens, index: Int[Array, "B m"]) -> Float[Array, "B m H D"]:
    """Tokens of each example, by number."""
    return x[jnp.arange(len(x))[:, None], index]


def segment_sizes(lengths: Lengths, count: int) -> tuple[Int[Array, "B m"], Int[Array, "B m"]]:
    """First token and tokens of each segment: segment i of m is ⌊i·length/m⌋ … ⌊(i+1)·length/m⌋ − 1, maybe empty."""
    edges = jnp.arange(count + 1) * lengths[:, None] // count
    return edges[:, :-1], jnp.diff(edges, axis=1)


def segments_with_tokens(x: Tokens, lengths: Lengths | None, count: int) -> Bool[Array, "B m"] | None:
    """Which of the segments of x hold a token; None where all do, whatever the batch."""
    if lengths is None and x.shape[1] >= count:
        return None
    return segment_sizes(_known(x, lengths), count)[1] > 0


def segment_means(x: Tokens, lengths: Lengths | None, count: int) -> Float[Array, "B m H D"]:
    """Mean of each segment's tokens, zero for an empty one; in float32 at least. Each token is gathered about once."""
    batch, tokens, wide = *x.shape[:2], jnp.promote_types(x.dtype, jnp.float32)
    if lengths is None and tokens % count == 0:
        return x.reshape(batch, count, -1, *x.shape[2:]).mean(2, dtype=wide)
    first, sizes = segment_sizes(_known(x, lengths), count)
    place = jnp.arange(-(-tokens // count))
    inside = place < sizes[:, :, None]
    index = jnp.minimum(first[:, :, None] + place, tokens - 1)
    rows = jnp.where(
        inside[..., None, None], take_tokens(x, index.reshape(batch, -1)).reshape(*index.shape, *x.shape[2:]), 0
    )
    return rows.sum(2, dtype=wide) / jnp.maximum(sizes, 1)[:, :, None, None]


def _known(x: Tokens, lengths: Lengths | None) -> Lengths:
    """The lengths, written out where every token is real."""
    return jnp.full(x.shape[0], x.shape[1]) if lengths is None else lengths


def over_norms(matrix: Float[Array, "B H m m"]) -> Float[Array, "B H m m"]:
    """Aᵀ / (‖A‖₁ ‖A‖∞), the norms of each example and head: where Newton's iterations towards A⁺ may start."""
    size = jnp.abs(matrix)
    norms = largest(size.sum(2, keepdims=True), 3) * largest(size.sum(3, keepdims=True), 2)
    return matrix.mT / jnp.where(norms > 0, norms, 1)


def iterative_inverse(
    matrix: Float[Array, "B H m m"], start: Float[Array, "B H m m"], iterations: int
) -> Float[Array, "B H m m"]:
    """Z ← ¼ Z (13 I − A Z (15 I − A Z (7 I − A Z))), towards the (pseudo-)inverse: Razavi et al. 2014.

    Rows and columns that are zero in both stay so. In true float32: a GPU's default for products has 10 bits.
    """
    inverse, identity = start, jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    with jax.default_matmul_precision("highest"):
        for _ in range(iterations):
            product = matrix @ inverse
            inner = 15 * identity - product @ (7 * identity - product)
            inverse = 0.25 * inverse @ (13 * identity - product @ inner)
    return inverse
