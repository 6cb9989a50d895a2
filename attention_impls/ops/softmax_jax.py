"""Softmax attention in JAX by the fastest way that a device has, and in blocks of scores that are never kept.

XLA's products on a CPU are slow where they read a matrix of scores against its rows. So the backward pass computes the
scores anew, with a row for each key.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float, Shaped

from attention_impls.ops.jax_ops import Lengths, Real, Tokens, real_tokens, rows_of, softmax_attention

SHORT = 256
"""Tokens up to which a CPU is fastest with the scores of a whole batch in one product."""
QUERIES = 128
"""Queries of one head whose scores a CPU computes at a time; they stay in a core's cache."""

Queries = Float[Array, "M w D"]
Keys = Float[Array, "K m D"]
Seen = Bool[Array, "K m"] | None
Kept = tuple[Queries, Keys, Keys, Seen, Queries, Float[Array, "M w"]]
"""What the backward pass takes: queries, keys, values, seen keys, the output, and the logarithms of the normalisers."""


def fused_softmax_attention(q: Tokens, k: Tokens, v: Tokens, lengths: Lengths | None) -> Tokens:
    """softmax(q kᵀ / √D) v over real keys; its softmax is float32 at least.

    cuDNN's flash attention serves 16-bit inputs on a GPU. An empty example sees its first key, since no kernel defines
    a softmax over nothing. Rows of padded queries are not zeroed.
    """
    visible = None if lengths is None else jnp.maximum(lengths, 1).astype(jnp.int32)
    if _cudnn_can(q):
        return jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=visible, implementation="cudnn")
    tokens = q.shape[1]
    real = None if visible is None else real_tokens(visible, tokens)
    if jax.default_backend() == "cpu" and tokens > SHORT:
        return attention_in_blocks(q, k, v, real, QUERIES, tokens)
    return softmax_attention(q, k, v, real)


def flash_attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None, block: int) -> Tokens:
    """softmax(q kᵀ / √D) v over real keys; zeros where no key is real. The scores of a block at a time are in memory.

    A CPU has all keys in a block. XLA takes several times as long for a loop over them inside of two others.
    """
    if jax.default_backend() == "cpu":
        return attention_in_blocks(q, k, v, real, min(block, QUERIES), q.shape[1])
    return attention_in_blocks(q, k, v, real, block, block)


def attention_in_blocks(q: Tokens, k: Tokens, v: Tokens, real: Real | None, queries: int, keys: int) -> Tokens:
    """softmax(q kᵀ / √D) v over real keys, in blocks of this many queries and keys; zeros where no key is real.

    Nothing but inputs, outputs and normalisers is kept for the backward pass. A CPU takes one head of one example after
    the other, a GPU all at once.
    """
    tokens, heads = q.shape[1:3]
    queries, keys = min(queries, tokens), min(keys, tokens)
    if real is None and tokens % keys:
        real = jnp.ones(q.shape[:2], bool)
    seen = None if real is None else jnp.repeat(_blocks(real, keys), heads, 0)
    parts = _blocks(rows_of(q), queries), _blocks(rows_of(k), keys), _blocks(rows_of(v), keys), seen
    on_cpu = jax.default_backend() == "cpu"
    out = jax.lax.map(lambda part: _head(*part), parts) if on_cpu else jax.vmap(_head)(*parts)
    return rearrange(out, "(B H) M w D -> B (M w) H D", H=heads)[:, :tokens]


@jax.custom_vjp
def _head(q: Queries, k: Keys, v: Keys, seen: Seen) -> Queries:
    """One head of one example."""
    return _forward(q, k, v, seen)[0]


def _forward(q: Queries, k: Keys, v: Keys, seen: Seen) -> tuple[Queries, Kept]:
    wide = jnp.promote_types(q.dtype, jnp.float32)
    lowest = jnp.finfo(wide).min

    def block(query: Float[Array, "w D"]) -> tuple[Float[Array, "w D"], Float[Array, " w"]]:
        def step(carry: tuple[Array, Array, Array], part: tuple[Array, Array, Array | None]) -> tuple[tuple, None]:
            top, total, out = carry
            key, value, visible = part
            scores = jnp.einsum("id,jd->ij", query, key, preferred_element_type=wide) / math.sqrt(q.shape[-1])
            if visible is not None:
                scores = jnp.where(visible, scores, lowest)
            higher = jnp.maximum(top, scores.max(-1, keepdims=True))
            weights = jnp.exp(scores - higher)
            if visible is not None:
                weights = jnp.where(visible, weights, 0)
            fade = jnp.exp(top - higher)
            added = jnp.einsum("ij,jd->id", weights.astype(value.dtype), value, preferred_element_type=wide)
            return (higher, fade * total + weights.sum(-1, keepdims=True), fade * out + added), None

        column = jnp.zeros((*query.shape[:-1], 1), wide)
        start = (column + lowest, column, jnp.zeros(query.shape, wide))
        (top, total, out), _ = jax.lax.scan(step, start, (k, v, seen))
        some = total > 0
        total = jnp.where(some, total, 1)
        return (out / total).astype(q.dtype), jnp.where(some, top + jnp.log(total), 0)[:, 0]

    out, normalisers = jax.lax.map(block, q)
    return out, (q, k, v, seen, out, normalisers)


def _backward(kept: Kept, gradient: Queries) -> tuple[Queries, Keys, Keys, None]:
    q, k, v, seen, out, normalisers = kept
    wide, scale = normalisers.dtype, 1 / math.sqrt(q.shape[-1])
    means = (gradient.astype(wide) * out.astype(wide)).sum(-1)

    def of_keys(dq: Array, part: tuple[Array, Array, Array | None]) -> tuple[Array, tuple[Array, Array]]:
        key, value, visible = part

        def of_queries(carry: tuple[Array, Array], part: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
            dk, dv = carry
            query, pulled, normaliser, mean = part
            scores = jnp.einsum("jd,id->ji", key, query, preferred_element_type=wide) * scale
            if visible is not None:
                scores = jnp.where(visible[:, None], scores, jnp.finfo(wide).min)
            weights = jnp.exp(scores - normaliser)
            slopes = weights * (jnp.einsum("jd,id->ji", value, pulled, preferred_element_type=wide) - mean)
            slopes, weights = slopes.astype(q.dtype), weights.astype(q.dtype)
            dk += jnp.einsum("ji,id->jd", slopes, query, preferred_element_type=wide)
            dv += jnp.einsum("ji,id->jd", weights, pulled, preferred_element_type=wide)
            return (dk, dv), jnp.einsum("ji,jd->id", slopes, key, preferred_element_type=wide)

        start = jnp.zeros(key.shape, wide)
        (dk, dv), more = jax.lax.scan(of_queries, (start, start), (q, gradient, normalisers, means))
        return dq + more, (dk * scale, dv)

    dq, (dk, dv) = jax.lax.scan(of_keys, jnp.zeros(q.shape, wide), (k, v, seen))
    return (dq * scale).astype(q.dtype), dk.astype(k.dtype), dv.astype(v.dtype), None


_head.defvjp(_forward, _backward)


def _blocks(x: Shaped[Array, "R N *rest"], block: int) -> Shaped[Array, "R M w *rest"]:
    """The tokens in blocks, zeros behind the last one."""
    widths = [(0, 0)] * x.ndim
    widths[1] = (0, -x.shape[1] % block)
    x = jnp.pad(x, widths)
    return x.reshape(len(x), -1, block, *x.shape[2:])


def _cudnn_can(q: Array) -> bool:
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    fits = q.shape[-1] % 8 == 0 and q.shape[-1] <= 128 and q.shape[1] % 2 == 0
    return half and fits and jax.default_backend() == "gpu"
