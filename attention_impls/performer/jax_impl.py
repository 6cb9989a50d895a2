"""Performer in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.feature_maps_jax import factored_attention, heads_first
from attention_impls.ops.jax_ops import Real, Tokens, largest
from attention_impls.performer import PROJECTION, Options, added


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    scale = layer.dims.head_dim**-0.25
    projection = scale * layer.constants[PROJECTION].astype(queries.dtype)
    if layer.options.kind == "softmax":
        queries, keys = (_exponents(x, projection, scale) for x in (queries, keys))
        queries, keys = _stabilised(queries, keys, layer.real)  # eq. (softmax-features)
    else:
        queries, keys = (jax.nn.relu(x @ projection.T) for x in (queries, keys))  # eq. (relu-features)
    keys = keys + added(layer.options)
    if layer.real is not None:
        keys = jnp.where(layer.real[:, None, :, None], keys, 0)
    out, total = factored_attention(queries + added(layer.options), keys, values)
    # Only an example without tokens has no similarity at all.  # eq. (output)
    return (out / jnp.where(total == 0, 1, total)).swapaxes(1, 2).astype(v.dtype)


def _exponents(x: Float[Array, "B H N D"], projection: Float[Array, "M D"], scale: float) -> Float[Array, "B H N M"]:
    """W x − ‖x‖²/2 of the scaled vector; the scale of W x is already in the projection."""
    return x @ projection.T - jnp.square(x * scale).sum(-1, keepdims=True) / 2


def _stabilised(
    queries: Float[Array, "B H N M"], keys: Float[Array, "B H N M"], real: Real | None
) -> tuple[Float[Array, "B H N M"], Float[Array, "B H N M"]]:
    """exp of each less its largest: a query's own, and that of all real keys of the example and head."""
    if real is not None:
        keys = jnp.where(real[:, None, :, None], keys, jnp.finfo(keys.dtype).min)
    return jnp.exp(queries - largest(queries, -1)), jnp.exp(keys - largest(keys, (2, 3)))
