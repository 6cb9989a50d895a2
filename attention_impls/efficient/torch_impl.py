"""Efficient attention in PyTorch."""

from __future__ import annotations

from attention_impls.base import Layer
from attention_impls.efficient import Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import Tokens, depthwise_conv, efficient_attention


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    out = efficient_attention(q, k, v, layer.real)  # eq. (output)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out
