"""Local attention in PyTorch."""

from __future__ import annotations

from attention_impls.base import Layer
from attention_impls.local import Options
from attention_impls.ops.blocks_torch import block_attention, from_blocks, real_blocks, to_blocks
from attention_impls.ops.torch_ops import Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    size = min(layer.options.block_size, tokens)
    whole = layer.real is None and tokens % size == 0
    visible = None if whole else real_blocks(layer.real, tokens, size, q.device)[:, :, None]
    q, k, v = (to_blocks(x, size) for x in (q, k, v))
    return from_blocks(block_attention(q, k, v, visible), tokens)  # eq. (block)
