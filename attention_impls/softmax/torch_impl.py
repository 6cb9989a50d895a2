"""Softmax attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import depthwise_conv, softmax_attention
from attention_impls.softmax import Options


def attend(
    q: Float[Tensor, "B N H D"], k: Float[Tensor, "B N H D"], v: Float[Tensor, "B N H D"], layer: Layer[Options]
) -> Float[Tensor, "B N H D"]:
    out = softmax_attention(q, k, v, layer.real)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out
