"""Performer in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from attention_impls.base import Dims, check_length
from attention_impls.ops.feature_maps_jax import factored_attention, heads_first
from attention_impls.ops.jax_ops import real_tokens, zero_padding
from attention_impls.performer import PROJECTION, Options, added


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
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    scale = dims.head_dim**-0.25
    projection = scale * constants[PROJECTION].astype(queries.dtype)
    if options.kind == "softmax":
        queries, keys = (_exponents(x, projection, scale) for x in (queries, keys))
        queries, keys = _stabilised(queries, keys, real)
    else:
        queries, keys = (jax.nn.relu(x @ projection.T) for x in (queries, keys))
    keys = keys + added(options)
    if real is not None:
        keys = jnp.where(real[:, None, :, None], keys, 0)
    out, total = factored_attention(queries + added(options), keys, values)
    # Only an example without tokens has no similarity at all.
    return zero_padding((out / jnp.where(total == 0, 1, total)).swapaxes(1, 2).astype(v.dtype), real)


def _exponents(x: Float[Array, "B H N D"], projection: Float[Array, "M D"], scale: float) -> Float[Array, "B H N M"]:
    """W x − ‖x‖²/2 of the scaled vector; the scale of W x is already in the projection."""
    return x @ projection.T - jnp.square(x * scale).sum(-1, keepdims=True) / 2


def _stabilised(
    queries: Float[Array, "B H N M"], keys: Float[Array, "B H N M"], real: Bool[Array, "B N"] | None
) -> tuple[Float[Array, "B H N M"], Float[Array, "B H N M"]]:
    """exp of each less its largest: a query's own, and that of all real keys of the example and head."""
    if real is not None:
        keys = jnp.where(real[:, None, :, None], keys, jnp.finfo(keys.dtype).min)
    return jnp.exp(queries - queries.max(-1, keepdims=True)), jnp.exp(keys - keys.max((2, 3), keepdims=True))
