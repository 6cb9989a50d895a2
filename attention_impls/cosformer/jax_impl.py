"""cosFormer in JAX."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from attention_impls.base import Dims, check_length
from attention_impls.cosformer import EPSILON, Options
from attention_impls.ops.feature_maps_jax import factored_attention, heads_first
from attention_impls.ops.jax_ops import real_tokens, zero_padding


def attend(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    *,
    lengths: Int[Array, " B"] | None,
    params: dict[str, Array],
    constants: dict[str, Array],
    options: Options,
    dims: Dims,
) -> Float[Array, "B N H D"]:
    check_length(q.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    queries, keys, values = (heads_first(x) for x in (q, zero_padding(k, real), v))
    angles = _angles(queries, lengths)
    out, total = factored_attention(_features(queries, angles), _features(keys, angles), values)
    return zero_padding((out / jnp.maximum(total, EPSILON)).swapaxes(1, 2).astype(v.dtype), real)


def _angles(x: Float[Array, "B H N D"], lengths: Int[Array, " B"] | None) -> Float[Array, "b 1 N 1"]:
    """π/2 · i / length for i = 1 … N, in the dtype of x; one row where all lengths are N."""
    tokens = x.shape[2]
    places = jnp.arange(1, tokens + 1, dtype=x.dtype)
    shares = (places / tokens)[None] if lengths is None else places / jnp.maximum(lengths, 1)[:, None]
    return (math.pi / 2) * shares[:, None, :, None]


def _features(x: Float[Array, "B H N D"], angles: Float[Array, "b 1 N 1"]) -> Float[Array, "B H N F"]:
    """ReLU(x) times the sine and times the cosine of its angle, F = 2D."""
    x = jax.nn.relu(x)
    return jnp.concatenate([x * jnp.sin(angles), x * jnp.cos(angles)], -1)
