"""Longformer attention in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
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
from attention_impls.ops.torch_ops import zero_padding


def attend(
    x: Float[Tensor, "B N C"],
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    layer: Layer[Options],
) -> Float[Tensor, "B N H D"]:
    tokens = q.shape[1]
    few, size = min(layer.options.global_tokens, tokens), min(layer.options.window // 2, tokens)
    out = _ordinary(q, k, v, layer.real, size, few)
    if few > 0:
        out = torch.cat([_global(x, layer.real, layer.params, layer.dims, few), out[:, few:]], 1)
    return out


def _ordinary(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    real: Bool[Tensor, "B N"] | None,
    size: int,
    few: int,
) -> Float[Tensor, "B N H D"]:
    """One softmax over the window, without the global tokens in it, and the global tokens; rows of all tokens."""
    tokens = q.shape[1]
    exists = real_blocks(real, tokens, size, q.device)
    cells = torch.arange(exists[0].numel(), device=q.device).view(exists.shape[1:])
    visible = window(exists & (cells >= few))
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
    x: Float[Tensor, "B N C"], real: Bool[Tensor, "B N"] | None, params: dict[str, Tensor], dims: Dims, few: int
) -> Float[Tensor, "B g H D"]:
    """The rows of the global tokens: softmax attention over every token with their own projections."""

    def project(name: str, rows: Tensor) -> Tensor:
        projected = F.linear(rows, params[f"{name}.weight"].T, params.get(f"{name}.bias"))
        return projected.unflatten(-1, (dims.heads, dims.head_dim))

    q, k, v = project(QUERY, x[:, :few]), project(KEY, x), zero_padding(project(VALUE, x), real)
    visible = None if real is None else real[:, None, None]
    return block_attention(q[:, None], k[:, None], v[:, None], visible)[:, 0]
