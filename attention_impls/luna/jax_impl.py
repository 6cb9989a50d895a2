"""Luna in JAX."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.luna import ASK, ASK_BIAS, EPSILON, SCALE, SHIFT, START, TELL, TELL_BIAS, Options
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.landmarks_jax import cross_attention


def attend(q: Tokens, k: Tokens, layer: Layer[Options]) -> tuple[Tokens, Float[Array, "B l C"]]:
    params, wide = layer.params, jnp.promote_types(q.dtype, jnp.float32)
    p = layer.carry
    if p is None:
        start = math.sqrt(layer.dims.width) * params[START].astype(wide)  # eq. (start)
        p = jnp.broadcast_to(start, (len(q), *start.shape))
    centred = p - p.mean(2, keepdims=True)
    size = jnp.sqrt(jnp.square(centred).mean(2, keepdims=True) + EPSILON)
    normed = (centred / size * params[SCALE].astype(wide) + params[SHIFT].astype(wide)).astype(q.dtype)
    ask = _heads(normed @ params[ASK] + params[ASK_BIAS], layer)
    packed = cross_attention(ask, k, k, layer.real).reshape(p.shape)  # eq. (pack)
    told = _heads(packed @ params[TELL] + params[TELL_BIAS], layer)
    return cross_attention(q, told, told, None), p + packed  # eq. (unpack), (carry)


def _heads(p: Float[Array, "B l C"], layer: Layer[Options]) -> Float[Array, "B l H D"]:
    return p.reshape(*p.shape[:2], layer.dims.heads, layer.dims.head_dim)
