"""Agent attention in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from attention_impls.agent import GATHER, READ, Options
from attention_impls.base import Dims, check_length
from attention_impls.ops.jax_ops import depthwise_conv, real_tokens, zero_padding
from attention_impls.ops.landmarks_jax import cross_attention, segment_means, segments_with_tokens
from attention_impls.ops.local_conv import BIAS, WEIGHT


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
    v = zero_padding(v, real)
    agents = segment_means(q, lengths, options.agents).astype(q.dtype)
    places = _places(q, lengths, options.bias_positions)
    gather, read = (jnp.einsum("hap,btp->bhat", params[name], places) for name in (GATHER, READ))
    gathered = cross_attention(agents, k, v, real, gather)
    out = cross_attention(q, agents, gathered, segments_with_tokens(q, lengths, options.agents), read.mT)
    if options.local_conv:
        out = out + depthwise_conv(v, params[WEIGHT], params[BIAS])
    return zero_padding(out, real)


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
