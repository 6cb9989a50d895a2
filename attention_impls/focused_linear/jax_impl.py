"""Focused linear attention in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.focused_linear import BIAS, EPSILON, POSITION, SCALE, WEIGHT, Options
from attention_impls.ops.feature_maps_jax import factored_attention, heads_first
from attention_impls.ops.jax_ops import Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    queries = _focused(queries, layer.params[SCALE], layer.options.focus)
    keys = _focused(keys + layer.params[POSITION][:tokens].swapaxes(0, 1), layer.params[SCALE], layer.options.focus)
    if layer.real is None or layer.lengths is None:
        keys = keys / tokens
    else:
        keys = jnp.where(layer.real[:, None, :, None], keys, 0) / jnp.maximum(layer.lengths, 1)[:, None, None, None]
    out, total = factored_attention(queries, keys, values)
    out = out / (total + EPSILON) + _convolved(values, layer.params[WEIGHT], layer.params[BIAS])  # eq. (output)
    return out.swapaxes(1, 2).astype(v.dtype)


def _focused(x: Float[Array, "B H N D"], scale: Float[Array, "H D"], power: int) -> Float[Array, "B H N D"]:
    """φ(x): the norm of f in the direction of f^p, both over the features of all heads."""
    f = (jax.nn.relu(x) + EPSILON) / jax.nn.softplus(scale.astype(x.dtype))[:, None]
    # A power's direction does not depend on the length of f, so neither does its gradient on this divisor.
    direction = (f / jax.lax.stop_gradient(f).max((1, 3), keepdims=True)) ** power
    norm, length = (jnp.linalg.norm(y, axis=(1, 3), keepdims=True) for y in (f, direction))
    return direction * (norm / length)  # eq. (features)


def _convolved(
    v: Float[Array, "B H N D"], weight: Float[Array, "D K"], bias: Float[Array, " D"]
) -> Float[Array, "B H N D"]:
    """Depthwise convolution along tokens with zeros beyond the ends, as shifted multiply-adds that XLA fuses."""
    taps = weight.shape[1]
    padded = jnp.pad(v, ((0, 0), (0, 0), (taps // 2, taps // 2), (0, 0)))
    out = jnp.broadcast_to(bias, v.shape)
    for shift in range(taps):
        out = out + padded[:, :, shift : shift + v.shape[2]] * weight[:, shift]
    return out
