"""Efficient attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.efficient import Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import depthwise_conv, efficient_attention, real_tokens, zero_padding


def attend(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    *,
    lengths: Int[Tensor, " B"] | None,
    params: dict[str, Tensor],
    constants: dict[str, Tensor],
    options: Options,
    dims: Dims,
) -> Float[Tensor, "B N H D"]:
    check_length(q.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    out = efficient_attention(q, k, v, real)
    if options.local_conv:
        out = out + depthwise_conv(zero_padding(v, real), params[WEIGHT], params[BIAS])
    return zero_padding(out, real)
