"""cosFormer in JAX."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.cosformer import EPSILON, Options
from attention_impls.ops.feature_maps_jax import factored_attention, heads_first
from attention_impls.ops.jax_ops import Lengths, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    angles = _angles(queries, layer.lengths)
    out, total = factored_attention(_features(queries, angles), _features(keys, angles), values)  # eq. (similarity)
    return (out / jnp.maximum(total, EPSILON)).swapaxes(1, 2).astype(v.dtype)  # eq. (output)


def _angles(x: Float[Array, "B H N D"], lengths: Lengths | None) -> Float[Array, "b 1 N 1"]:
    """π/2 · i / length for i = 1 … N, in the dtype of x; one row where all lengths are N."""
    tokens = x.shape[2]
    places = jnp.arange(1, tokens + 1, dtype=x.dtype)
    shares = (places / tokens)[None] if lengths is None else places / jnp.maximum(lengths, 1)[:, None]
    return (math.pi / 2) * shares[:, None, :, None]


def _features(x: Float[Array, "B H N D"], angles: Float[Array, "b 1 N 1"]) -> Float[Array, "B H N F"]:
    """ReLU(x) times the sine and times the cosine of its angle, F = 2D."""
    x = jax.nn.relu(x)
    return jnp.concatenate([x * jnp.sin(angles), x * jnp.cos(angles)], -1)
