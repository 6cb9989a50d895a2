"""Shared pieces of the JAX implementations. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float, Int

from attention_impls.base import Layer
from attention_impls.ops.local_conv import BIAS, WEIGHT

Tokens = Float[Array, "B N H D"]
Real = Bool[Array, "B N"]
"""True where a token is real."""
Lengths = Int[Array, " B"]
"""How many tokens of each example are real; they come first."""


def real_tokens(lengths: Lengths, tokens: int) -> Real:
    """True where a token is real."""
    return jnp.arange(tokens) < lengths[:, None]


def zero_padding(x: Float[Array, "B N *rest"], real: Real | None) -> Float[Array, "B N *rest"]:
    """x with zeros at padded tokens, whatever was there; None says that there are none."""
    return x if real is None else jnp.where(real.reshape(*real.shape, *(1,) * (x.ndim - 2)), x, 0)


def device_and_dtype(x: Array) -> tuple[str, str]:
    """The device, "cpu" or "gpu" by JAX's choice, and the dtype as NumPy spells it."""
    return jax.default_backend(), x.dtype.name


def softmax(x: Float[Array, "*shape"], axis: int) -> Float[Array, "*shape"]:
    """Softmax with float32 statistics at least, in the dtype of x."""
    return jax.nn.softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis).astype(x.dtype)


def largest(x: Float[Array, "*shape"], axis: int | tuple[int, ...]) -> Float[Array, "*kept"]:
    """The maximum along axes that are kept; the elements that share it share its gradient.

    JAX's own gradient looks for the elements that equal the maximum and divides by their number. XLA may compute x anew
    for that, with other roundings, and find none. So here an element within a few roundings of it counts too.
    """
    fixed = jax.lax.stop_gradient(x)
    top = fixed.max(axis, keepdims=True)
    shared = fixed >= top - 8 * jnp.finfo(x.dtype).eps * jnp.abs(top)
    rise = jnp.where(shared, x - fixed, 0).sum(axis, keepdims=True)  # zero; it brings the gradient
    return top + rise / jnp.maximum(shared.sum(axis, keepdims=True), 1)


def softmax_attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None) -> Tokens:
    """softmax(q kᵀ / √D) v over real keys, every step written out. Rows of padded queries are not zeroed.

    For short rows (blocks), where the scores fit in memory. A finite fill keeps the softmax over no key finite.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    heads = q.shape[2]
    q, k, v = (rows_of(x) for x in (q, k, v))
    scores = jnp.einsum("rnd,rmd->rnm", q, k, preferred_element_type=wide) / math.sqrt(q.shape[-1])
    if real is not None:
        scores = jnp.where(jnp.repeat(real, heads, 0)[:, None], scores, jnp.finfo(wide).min)
    out = average(scores, v)
    return rearrange(out, "(B H) N D -> B N H D", H=heads)


def rows_of(x: Tokens) -> Float[Array, "R N D"]:
    """Every head of every example as a row of its own: XLA's products on a CPU like a single axis before the matrix."""
    return rearrange(x, "B N H D -> (B H) N D")


def average(scores: Float[Array, "*R n m"], v: Float[Array, "*R m D"]) -> Float[Array, "*R n D"]:
    """softmax(scores) v. Divided by the sum last, where there are D numbers a row instead of m."""
    # The result does not depend on the maximum, so neither does its gradient.
    weights = jnp.exp(scores - jax.lax.stop_gradient(scores.max(-1, keepdims=True)))
    out = jnp.einsum("...ij,...jd->...id", weights.astype(v.dtype), v, preferred_element_type=weights.dtype)
    return (out / weights.sum(-1, keepdims=True)).astype(v.dtype)


def efficient_attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None) -> Tokens:
    """softmax over features(q) · (softmax over real tokens(k)ᵀ v): Shen et al. 2021.

    A finite fill keeps the softmax over no token at all finite. Rows of padded queries are not zeroed.
    """
    if real is not None:
        k = jnp.where(real[:, :, None, None], k, jnp.finfo(k.dtype).min)
    heads = q.shape[2]
    q, k, v = (rows_of(x) for x in (q, k, v))
    wide = jnp.promote_types(q.dtype, jnp.float32)
    context = average(k.astype(wide).mT, v)
    out = average(q.astype(wide), context)
    return rearrange(out, "(B H) N D -> B N H D", H=heads)


def with_local_conv(out: Tokens, v: Tokens, layer: Layer[Any]) -> Tokens:
    """out + L(V), L a depthwise convolution of kernel 3, where `layer.options.local_conv` is on."""
    if not layer.options.local_conv:
        return out
    return out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])


def depthwise_conv(
    v: Float[Array, "B *space H D"], weight: Float[Array, "H D *taps"], bias: Float[Array, "H D"]
) -> Float[Array, "B *space H D"]:
    """Convolution of three taps along each axis of `space`, every channel by itself, zeros beyond the ends.

    Shifted multiply-adds in the layout of the tokens. Rows of zeros are concatenated, not padded. XLA would fuse the
    padding into its reader, which would then test every number.
    """
    space = v.shape[1:-2]
    out = jnp.broadcast_to(bias, v.shape)
    for shift in itertools.product(range(3), repeat=len(space)):
        moved = v
        for axis, step in enumerate(shift, start=1):
            moved = _moved(moved, axis, step - 1)
        out = out + moved * weight[..., *shift]
    return out


def _moved(x: Array, axis: int, step: int) -> Array:
    """The neighbours at -1, 0 or 1 along an axis, zeros beyond its ends."""
    if step == 0:
        return x
    zeros = jnp.zeros_like(jax.lax.slice_in_dim(x, 0, 1, axis=axis))
    if step < 0:
        return jnp.concatenate([zeros, jax.lax.slice_in_dim(x, 0, x.shape[axis] - 1, axis=axis)], axis)
    return jnp.concatenate([jax.lax.slice_in_dim(x, 1, x.shape[axis], axis=axis), zeros], axis)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """x Φ(x), exactly; nnx.gelu's erfc keeps digits of the far negative tail that nobody adds, at twice the time.

    In float32 at least: 1 + erf would leave little of a bfloat16.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (0.5 * wide * (1 + jax.lax.erf(wide * math.sqrt(0.5)))).astype(x.dtype)
