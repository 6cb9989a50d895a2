"""Softmax attention in JAX."""

from __future__ import annotations

from attention_impls.base import Layer
from attention_impls.ops.jax_ops import Tokens, depthwise_conv, fused_softmax_attention
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.softmax import Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    out = fused_softmax_attention(q, k, v, layer.lengths)  # eq. (output)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out
