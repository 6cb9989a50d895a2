"""Primal attention in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.feature_maps_jax import heads_first
from attention_impls.ops.jax_ops import Lengths, Real, Tokens
from attention_impls.primal import BIAS, LAMBDA, PROJECTION_E, PROJECTION_R, SMALLEST_NORM, WEIGHT, Options


def attend(x: Float[Array, "B N C"], q: Tokens, k: Tokens, layer: Layer[Options]) -> tuple[Tokens, Float[Array, " B"]]:
    batch, tokens = q.shape[:2]
    queries, keys = (_directions(heads_first(y), layer.real) for y in (q, k))
    weights_e, weights_r = (layer.params[name].astype(queries.dtype) for name in (PROJECTION_E, PROJECTION_R))
    sampled = _sampled(x, layer.lengths, weights_e.shape[1])
    rows = rearrange(sampled, "B P (H D) -> B H D P", H=layer.dims.heads).astype(queries.dtype)
    e, r = queries @ (rows @ weights_e), keys @ (rows @ weights_r)  # eq. (scores)

    first, second = jnp.split(layer.params[WEIGHT].astype(e.dtype), 2)
    out = e @ first + r @ second + layer.params[BIAS]  # eq. (output)

    count = jnp.full(batch, tokens) if layer.lengths is None else layer.lengths
    objective = _squares(e, r, layer.params[LAMBDA]) / jnp.maximum(count, 1) - (weights_e * weights_r).sum()
    penalty = layer.options.eta * jnp.square(objective / layer.dims.heads)  # eq. (penalty)
    return out.swapaxes(1, 2).astype(q.dtype), jnp.where(count == 0, 0, penalty)


def _directions(x: Float[Array, "B H N D"], real: Real | None) -> Float[Array, "B H N D"]:
    """x / ‖x‖, zero at padded tokens so that they count in no sum."""
    if real is not None:
        x = jnp.where(real[:, None, :, None], x, 0)
    return x * jax.lax.rsqrt(jnp.maximum(jnp.square(x).sum(-1, keepdims=True), SMALLEST_NORM**2))


def _squares(e: Float[Array, "B H N s"], r: Float[Array, "B H N s"], scale: Float[Array, "H s"]) -> Float[Array, " B"]:
    """½ Σ ‖Λe‖² + ½ Σ ‖Λr‖² over heads and tokens; Λ after the sum over tokens, which leaves less to multiply."""
    return ((jnp.square(e) + jnp.square(r)).sum(2) * jnp.square(scale)).sum((1, 2)) / 2


def _sampled(x: Float[Array, "B N C"], lengths: Lengths | None, rows: int) -> Float[Array, "B P C"]:
    """`rows` tokens spread evenly over each example's real ones, its first and its last among them."""
    steps = jnp.arange(rows)
    if lengths is None:
        return x[:, steps * (x.shape[1] - 1) // max(rows - 1, 1)]
    index = steps * (jnp.maximum(lengths, 1) - 1)[:, None] // max(rows - 1, 1)
    return jnp.take_along_axis(x, index[..., None], axis=1)
