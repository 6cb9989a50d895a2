"""Sinkhorn attention in PyTorch."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.blocks_torch import block_attention, from_blocks, real_blocks, to_blocks
from attention_impls.ops.torch_ops import Tokens
from attention_impls.sinkhorn import SORT, Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    size = min(layer.options.block_size, tokens)
    exists = real_blocks(layer.real, tokens, size, q.device)
    q, k, v = (to_blocks(x, size) for x in (q, k, v))
    order = sorting_matrix(k, layer.params[SORT], exists[:, :, 0], layer.options).to(v.dtype)  # eq. (sort)
    visible = None
    if layer.real is not None or tokens % size:
        # A place in a sorted block is empty only where the first block has no token there: then it is the only block.
        visible = torch.cat([exists, exists[:, :1].expand_as(exists)], 2)[:, :, None]
    keys, values = (torch.cat([x, _sort(order, x)], 2) for x in (k, v))
    return from_blocks(block_attention(q, keys, values, visible), tokens)  # eq. (output)


def sorting_matrix(
    k: Float[Tensor, "B n b H D"], weight: Float[Tensor, "H D m"], exists: Bool[Tensor, "_ n"], options: Options
) -> Float[Tensor, "B H n n"]:
    """P: row i says how much of each block comes to block i; zeros for blocks that do not exist. float32 at least."""
    wide = torch.promote_types(k.dtype, torch.float32)
    summary = k.to(wide).sum(2).transpose(1, 2)
    logits = summary @ weight[:, :, : k.shape[1]].to(wide) / options.temperature  # eq. (logits)
    missing = ~(exists[:, :, None] & exists[:, None])[:, None]
    least = torch.finfo(wide).min
    logits = logits.masked_fill(missing, least)
    for _ in range(options.iterations):
        for axis in (3, 2):
            logits = (logits - logits.logsumexp(axis, keepdim=True)).masked_fill(missing, least)
    return logits.exp()


def _sort(order: Float[Tensor, "B H n n"], x: Float[Tensor, "B n b H D"]) -> Float[Tensor, "B n b H D"]:
    """P times the blocks of every head."""
    rows = order @ rearrange(x, "B n b H D -> B H n (b D)")
    return rearrange(rows, "B H n (b D) -> B n b H D", D=x.shape[4])
