"""Agent attention in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.agent import GATHER, READ, Options
from attention_impls.base import Layer
from attention_impls.ops.landmarks_torch import cross_attention, segment_means, segments_with_tokens
from attention_impls.ops.torch_ops import Lengths, Tokens, with_local_conv


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    agents = segment_means(q, layer.lengths, layer.options.agents).to(q.dtype)  # eq. (agents)
    places = _places(q, layer.lengths, layer.options.bias_positions)
    gather, read = (torch.einsum("hap,btp->bhat", layer.params[name], places) for name in (GATHER, READ))
    gathered = cross_attention(agents, k, v, layer.real, gather)  # eq. (gather)
    filled = segments_with_tokens(q, layer.lengths, layer.options.agents)
    out = cross_attention(q, agents, gathered, filled, read.mT)  # eq. (read)
    return with_local_conv(out, v, layer)


def _places(q: Tokens, lengths: Lengths | None, count: int) -> Float[Tensor, "_ N p"]:
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
