"""Softmax attention in JAX."""

from __future__ import annotations

from attention_impls.base import Layer
from attention_impls.ops.jax_ops import Tokens, with_local_conv
from attention_impls.ops.softmax_jax import fused_softmax_attention
from attention_impls.softmax import Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    out = fused_softmax_attention(q, k, v, layer.lengths)  # eq. (output)
    return with_local_conv(out, v, layer)
