"""Softmax attention in JAX."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.jax_ops import depthwise_conv, fused_softmax_attention
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.softmax import Options


def attend(
    q: Float[Array, "B N H D"], k: Float[Array, "B N H D"], v: Float[Array, "B N H D"], layer: Layer[Options]
) -> Float[Array, "B N H D"]:
    out = fused_softmax_attention(q, k, v, layer.lengths)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out
