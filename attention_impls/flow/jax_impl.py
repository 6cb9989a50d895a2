"""Flow attention in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.flow import EPSILON, Options
from attention_impls.ops.feature_maps_jax import heads_first
from attention_impls.ops.jax_ops import Real, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    sinks, sources = _features(q, layer.real), _features(k, layer.real)
    count = tokens if layer.lengths is None else layer.lengths[:, None, None, None]
    inflow, outflow = _flow(sinks, sources.sum(2)[..., None]), _flow(sources, sinks.sum(2)[..., None])  # eq. (flow)
    conserved_inflow = _flow(sinks, sources.mT @ (1 / outflow))  # eq. (conserved)
    conserved_outflow = _flow(sources, sinks.mT @ (1 / inflow))  # eq. (conserved)
    competition = count * _softmax_over_tokens(conserved_outflow, layer.real)  # eq. (output)
    out = (sinks / inflow) @ (sources.mT @ (heads_first(v) * competition))
    return (jax.nn.sigmoid(conserved_inflow) * out).swapaxes(1, 2).astype(v.dtype)


def _features(x: Tokens, real: Real | None) -> Float[Array, "B H N D"]:
    """sigmoid(x), zero at padded tokens, which are neither sinks nor sources."""
    features = jax.nn.sigmoid(heads_first(x))
    return features if real is None else jnp.where(real[:, None, :, None], features, 0)


def _flow(x: Float[Array, "B H N D"], capacity: Float[Array, "B H D 1"]) -> Float[Array, "B H N 1"]:
    """What flows through each token, given what the other side holds in total."""
    return (x + EPSILON) @ (capacity + EPSILON)


def _softmax_over_tokens(x: Float[Array, "B H N 1"], real: Real | None) -> Float[Array, "B H N 1"]:
    """Softmax over real tokens; a finite fill keeps it finite where there is none."""
    if real is not None:
        x = jnp.where(real[:, None, :, None], x, jnp.finfo(x.dtype).min)
    return jax.nn.softmax(x, 2)
