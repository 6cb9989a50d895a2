"""Agent attention in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.agent import GATHER, READ, Options
from attention_impls.base import Layer
from attention_impls.ops.landmarks_torch import cross_attention, segment_means, segments_with_tokens
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import depthwise_conv


def attend(
    q: Float[Tensor, "B N H D"], k: Float[Tensor, "B N H D"], v: Float[Tensor, "B N H D"], layer: Layer[Options]
) -> Float[Tensor, "B N H D"]:
    agents = segment_means(q, layer.lengths, layer.options.agents).to(q.dtype)
    places = _places(q, layer.lengths, layer.options.bias_positions)
    gather, read = (torch.einsum("hap,btp->bhat", layer.params[name], places) for name in (GATHER, READ))
    gathered = cross_attention(agents, k, v, layer.real, gather)
    out = cross_attention(q, agents, gathered, segments_with_tokens(q, layer.lengths, layer.options.agents), read.mT)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out


def _places(q: Float[Tensor, "B N H D"], lengths: Int[Tensor, " B"] | None, count: int) -> Float[Tensor, "_ N p"]:
    """How much of each entry of a bias table a token takes: linear interpolation over the true length.

    One row for all examples where every token is real. As a product, since gathering would touch as much memory as the
    scores have, twice, and scatter into the table on the way back.
    """
    tokens, wide = q.shape[1], torch.promote_types(q.dtype, torch.float32)
    sizes = torch.full((1,), tokens, device=q.device) if lengths is None else lengths.clamp(min=1)
    middle = torch.arange(tokens, device=q.device, dtype=wide) + 0.5
    place = (middle * count / sizes[:, None] - 0.5).clamp(0, count - 1)
    entry = torch.arange(count, device=q.device, dtype=wide)
    return (1 - (place[..., None] - entry).abs()).clamp(min=0).to(q.dtype)
