"""Longformer attention in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Dims, Layer
from attention_impls.longformer import KEY, QUERY, VALUE, Options
from attention_impls.ops.blocks_torch import (
    block_attention,
    from_blocks,
    neighbours,
    real_blocks,
    to_blocks,
    window,
)
from attention_impls.ops.torch_ops import Real, Tokens, zero_padding


def attend(x: Float[Tensor, "B N C"], q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    few, size = min(layer.options.global_tokens, tokens), min(layer.options.window // 2, tokens)
    out = _ordinary(q, k, v, layer.real, size, few)  # eq. (ordinary)
    if few > 0:
        out = torch.cat([_global(x, layer.real, layer.params, layer.dims, few), out[:, few:]], 1)
    return out


def _ordinary(q: Tokens, k: Tokens, v: Tokens, real: Real | None, size: int, few: int) -> Tokens:
    """One softmax over the window, without the global tokens in it, and the global tokens; rows of all tokens."""
    tokens = q.shape[1]
    exists = real_blocks(real, tokens, size, q.device)
    cells = torch.arange(exists[0].numel(), device=q.device).view(exists.shape[1:])
    visible = window(exists & (cells >= few))  # eq. (seen)
    keys, values = (neighbours(to_blocks(y, size)) for y in (k, v))
    if few > 0:
        first = exists.flatten(1)[:, None, None, :few].expand(*visible.shape[:3], -1)
        visible = torch.cat([first, visible], 3)
        keys, values = (
            torch.cat([y[:, None, :few].expand(-1, keys.shape[1], -1, -1, -1), near], 2)
            for y, near in ((k, keys), (v, values))
        )
    return from_blocks(block_attention(to_blocks(q, size), keys, values, visible), tokens)


def _global(
    x: Float[Tensor, "B N C"], real: Real | None, params: dict[str, Tensor], dims: Dims, few: int
) -> Float[Tensor, "B g H D"]:
    """The rows of the global tokens: softmax attention over every token with their own projections."""

    def project(name: str, rows: Tensor) -> Tensor:
        projected = F.linear(rows, params[f"{name}.weight"].T, params.get(f"{name}.bias"))
        return projected.unflatten(-1, (dims.heads, dims.head_dim))

    q, k, v = project(QUERY, x[:, :few]), project(KEY, x), zero_padding(project(VALUE, x), real)
    visible = None if real is None else real[:, None, None]
    return block_attention(q[:, None], k[:, None], v[:, None], visible)[:, 0]  # eq. (global)
