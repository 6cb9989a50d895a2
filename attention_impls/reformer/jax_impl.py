"""LSH attention in JAX. R rounds, M chunks of m tokens; s marks an axis of tokens sorted by bucket.

An example of eight tokens: reference.py.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int, Shaped

from attention_impls.base import Layer
from attention_impls.ops.jax_ops import Lengths, Tokens, real_tokens
from attention_impls.reformer import SMALLEST, Options
from attention_impls.reformer.buckets import by_length, columns


def attend(q: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    every = jnp.full(q.shape[:1], tokens) if layer.lengths is None else layer.lengths
    q, v = (x.swapaxes(1, 2) for x in (q, v))
    chunk = min(layer.options.chunk_size, tokens)
    order = _order(q, every, layer.constants, layer.options)
    place = order.argsort(-1)
    queries, values = _cut(_sort(q, order), chunk), _cut(_sort(v, order), chunk)
    scores = _scores(queries, _with_previous(_unit(queries)))  # eq. (keys), (scores)
    if layer.options.rounds > 1:
        scores = scores - jnp.log(_times_seen(order, place, chunk).astype(scores.dtype))
    visible = _visible(every, scores.shape[-3], chunk, layer.options.allow_self)
    scores = jnp.where(visible, scores, jnp.finfo(scores.dtype).min)
    total = jax.nn.logsumexp(scores, -1, keepdims=True)
    out = jnp.exp(scores - total).astype(v.dtype) @ _with_previous(values)
    share = jax.nn.softmax(_unsort(total, place), 2).astype(v.dtype)
    return (share * _unsort(out, place)).sum(2).swapaxes(1, 2)  # eq. (output)


def _order(
    q: Float[Array, "B H N D"], lengths: Lengths, constants: dict[str, Array], options: Options
) -> Int[Array, "B H R N"]:
    """The tokens of each round sorted by bucket, those of a bucket by position, padding behind them all."""
    tokens = q.shape[2]
    q = jax.lax.stop_gradient(q).astype(jnp.promote_types(q.dtype, jnp.float32))
    counts = jnp.asarray(by_length(tokens, options.chunk_size))[lengths]
    bucket = jnp.zeros((), jnp.int32)
    for i, width in enumerate(columns(tokens, options.chunk_size)):
        count = counts[:, i, None, None, None]
        rotated = jnp.einsum("bhnd,rhdw->bhrnw", q, constants[f"rotations.{i}"][..., :width].astype(q.dtype))
        half = count // 2
        rotated = jnp.where(jnp.arange(width) < half[..., None], rotated, 0)
        axis = jnp.abs(rotated).argmax(-1, keepdims=True)  # that of the largest of [x; −x]
        negative = jnp.take_along_axis(rotated, axis, -1)[..., 0] < 0
        bucket = bucket * count + axis[..., 0] + half * negative  # eq. (hash)
    return jnp.where(real_tokens(lengths, tokens)[:, None, None], bucket, jnp.iinfo(jnp.int32).max).argsort(-1)


def _unit(x: Float[Array, "*shape D"]) -> Float[Array, "*shape D"]:
    """x/‖x‖, with a squared norm in float32 at least, whose gradient at zero is zero."""
    square = jnp.square(x.astype(jnp.promote_types(x.dtype, jnp.float32))).sum(-1, keepdims=True)
    return (x * jax.lax.rsqrt(jnp.maximum(square, SMALLEST**2))).astype(x.dtype)


def _sort(x: Shaped[Array, "B H N D"], order: Int[Array, "B H R N"]) -> Shaped[Array, "B H R s D"]:
    return jnp.take_along_axis(x[:, :, None], order[..., None], 3)


def _unsort(x: Float[Array, "B H R M m D"], place: Int[Array, "B H R N"]) -> Float[Array, "B H R N D"]:
    flat = x.reshape(*x.shape[:3], -1, x.shape[-1])
    return jnp.take_along_axis(flat, place[..., None], 3)


def _cut(x: Shaped[Array, "B H R s D"], chunk: int) -> Shaped[Array, "B H R M m D"]:
    x = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, -x.shape[3] % chunk), (0, 0)))
    return x.reshape(*x.shape[:3], -1, chunk, x.shape[-1])


def _with_previous(x: Shaped[Array, "B H R M m D"]) -> Shaped[Array, "B H R M m2 D"]:
    """Each chunk behind the one before it; nothing real is before the first."""
    before = jnp.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0), (0, 0), (0, 0)))[:, :, :, :-1]
    return jnp.concatenate([before, x], 4)


def _scores(q: Float[Array, "*B m D"], k: Float[Array, "*B m2 D"]) -> Float[Array, "*B m m2"]:
    wide = jnp.promote_types(q.dtype, jnp.float32)
    return jnp.einsum("...id,...jd->...ij", q, k, preferred_element_type=wide)


def _visible(lengths: Lengths, chunks: int, chunk: int, allow_self: bool) -> Bool[Array, "B #H #R M m m2"]:
    """Which keys a query sees. Real tokens are sorted to the front, so their places alone say which are real."""
    within = jnp.arange(chunk)
    key = jnp.arange(chunks)[:, None] * chunk + jnp.concatenate([within - chunk, within])
    real = (key >= 0) & (key < lengths[:, None, None])
    other = within[:, None] + chunk != jnp.arange(2 * chunk)
    allowed = other | (lengths == 1)[:, None, None] | allow_self
    return (real[:, :, None] & allowed[:, None])[:, None, None]


def _times_seen(order: Int[Array, "B H R N"], place: Int[Array, "B H R N"], chunk: int) -> Int[Array, "B H R M m m2"]:
    """In how many rounds the query has the key in its own or the previous chunk, this one included."""
    count = jnp.ones((), jnp.int32)
    for shift in range(1, order.shape[2]):
        elsewhere = jnp.take_along_axis(jnp.roll(place // chunk, -shift, 2), order, 3)[..., None]
        query = _cut(elsewhere, chunk)
        back = query - _with_previous(query).mT
        count = count + ((back == 0) | (back == 1))
    return count
