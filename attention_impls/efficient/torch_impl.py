"""Efficient attention in PyTorch."""

from __future__ import annotations

from attention_impls.base import Layer
from attention_impls.efficient import Options
from attention_impls.ops.torch_ops import Tokens, efficient_attention, with_local_conv


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    out = efficient_attention(q, k, v, layer.real)  # eq. (output)
    return with_local_conv(out, v, layer)
