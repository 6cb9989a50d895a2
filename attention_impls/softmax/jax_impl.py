"""Softmax attention in JAX."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float, Int

from attention_impls.base import Dims, check_length
from attention_impls.ops.jax_ops import depthwise_conv, fused_softmax_attention, real_tokens, zero_padding
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.softmax import Options


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
    out = fused_softmax_attention(q, k, v, lengths)
    if options.local_conv:
        out = out + depthwise_conv(zero_padding(v, real), params[WEIGHT], params[BIAS])
    return zero_padding(out, real)
