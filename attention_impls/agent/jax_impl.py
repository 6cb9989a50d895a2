"""Agent attention in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from attention_impls.agent import GATHER, READ, Options
from attention_impls.base import Layer
from attention_impls.ops.jax_ops import depthwise_conv
from attention_impls.ops.landmarks_jax import cross_attention, segment_means, segments_with_tokens
from attention_impls.ops.local_conv import BIAS, WEIGHT


def attend(
    q: Float[Array, "B N H D"], k: Float[Array, "B N H D"], v: Float[Array, "B N H D"], layer: Layer[Options]
) -> Float[Array, "B N H D"]:
    agents = segment_means(q, layer.lengths, layer.options.agents).astype(q.dtype)
    places = _places(q, layer.lengths, layer.options.bias_positions)
    gather, read = (jnp.einsum("hap,btp->bhat", layer.params[name], places) for name in (GATHER, READ))
    gathered = cross_attention(agents, k, v, layer.real, gather)
    out = cross_attention(q, agents, gathered, segments_with_tokens(q, layer.lengths, layer.options.agents), read.mT)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out


def _places(q: Float[Array, "B N H D"], lengths: Int[Array, " B"] | None, count: int) -> Float[Array, "_ N p"]:
    """How much of each entry of a bias table a token takes: linear interpolation over the true length.

    One row for all examples where every token is real. As a product, since gathering would touch as much memory as the
    scores have, twice, and scatter into the table on the way back.
    """
    tokens, wide = q.shape[1], jnp.promote_types(q.dtype, jnp.float32)
    sizes = jnp.full(1, tokens) if lengths is None else jnp.maximum(lengths, 1)
    middle = jnp.arange(tokens, dtype=wide) + 0.5
    place = jnp.clip(middle * count / sizes[:, None] - 0.5, 0, count - 1)
    entry = jnp.arange(count, dtype=wide)
    return jnp.maximum(1 - jnp.abs(place[..., None] - entry), 0).astype(q.dtype)
