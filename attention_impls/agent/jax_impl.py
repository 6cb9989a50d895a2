"""Agent attention in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.agent import GATHER, READ, Options
from attention_impls.base import Layer
from attention_impls.ops.jax_ops import Lengths, Tokens, with_local_conv
from attention_impls.ops.landmarks_jax import cross_attention, segment_means, segments_with_tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    agents = segment_means(q, layer.lengths, layer.options.agents).astype(q.dtype)  # eq. (agents)
    places = _places(q, layer.lengths, layer.options.bias_positions)
    gather, read = (jnp.einsum("hap,btp->bhat", layer.params[name], places) for name in (GATHER, READ))
    gathered = cross_attention(agents, k, v, layer.real, gather)  # eq. (gather)
    filled = segments_with_tokens(q, layer.lengths, layer.options.agents)
    out = cross_attention(q, agents, gathered, filled, read.mT)  # eq. (read)
    return with_local_conv(out, v, layer)


def _places(q: Tokens, lengths: Lengths | None, count: int) -> Float[Array, "_ N p"]:
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
