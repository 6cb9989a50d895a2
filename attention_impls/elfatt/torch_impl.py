"""ELFATT in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Shaped
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.elfatt import Options, global_heads, tiling
from attention_impls.elfatt.tiling import Tiling
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import Tokens, depthwise_conv, efficient_attention, softmax_attention

Heads = Float[Tensor, "B N h D"]
"""Some of the heads."""


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    if layer.kernel == "fused":
        return _fused(q, k, v, layer)
    blocks, split = tiling(layer.options, layer.dims, q.shape[1]), global_heads(layer.options, layer.dims)
    if split == 0:
        return _blocked(q, k, v, layer, blocks)
    if split == layer.dims.heads:
        return _global(q, k, v, layer, blocks)
    # By `split`, whose gradient is one concatenation; slices would each fill an array with zeros and add it.
    (q, q_blocks), (k, k_blocks), (v, v_blocks) = (x.split([split, layer.dims.heads - split], 2) for x in (q, k, v))
    return torch.cat([_global(q, k, v, layer, blocks), _blocked(q_blocks, k_blocks, v_blocks, layer, blocks)], 2)


def _global(q: Heads, k: Heads, v: Heads, layer: Layer[Options], blocks: Tiling) -> Heads:
    """softmax(Q)(softmax(K)ᵀ V) + L(V), L over the whole space."""
    out = efficient_attention(q, k, v, layer.real)  # eq. (global)
    if not layer.options.local_conv:
        return out
    heads = slice(None, q.shape[2])
    conv = depthwise_conv(_to_space(v, blocks), layer.params[WEIGHT][heads], layer.params[BIAS][heads])
    return out + conv.flatten(1, -3)[:, : v.shape[1]]


def _blocked(q: Heads, k: Heads, v: Heads, layer: Layer[Options], blocks: Tiling) -> Heads:
    """In each block softmax(Q Kᵀ / √D) V + L(V), L with zeros beyond the block's border."""
    tokens, real = q.shape[1], layer.real
    if real is None and blocks.padded_tokens != tokens:
        real = torch.ones(q.shape[:2], dtype=torch.bool, device=q.device)
    q, k, v = (_to_blocks(x, blocks) for x in (q, k, v))
    out = softmax_attention(q, k, v, None if real is None else _to_blocks(real, blocks))  # eq. (block)
    if layer.options.local_conv:
        heads = slice(-q.shape[2], None)
        conv = depthwise_conv(v.unflatten(1, blocks.window), layer.params[WEIGHT][heads], layer.params[BIAS][heads])
        out = out + conv.flatten(1, -3)
    return _from_blocks(out, blocks)[:, :tokens]


def _fused(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    from attention_impls.elfatt.triton.torch_attend import attend_fused  # Triton comes with PyTorch's CUDA builds only

    return attend_fused(
        q,
        k,
        v,
        lengths=layer.lengths,
        conv=(layer.params[WEIGHT], layer.params[BIAS]) if layer.options.local_conv else None,
        global_heads=global_heads(layer.options, layer.dims),
        block_size=layer.options.block_size,
    )


def _to_space(x: Shaped[Tensor, "B N *rest"], blocks: Tiling) -> Shaped[Tensor, "B ..."]:
    """Tokens laid out on the space, with zeros in the cells that have no token."""
    return _pad_end(x, [blocks.cells - x.shape[1]]).unflatten(1, blocks.space)


def _to_blocks(x: Shaped[Tensor, "B N *rest"], blocks: Tiling) -> Shaped[Tensor, "Bb n *rest"]:
    """(B, N, …) -> (B·blocks, tokens of a block, …): a view where nothing is padded and the layout is 1d."""
    return rearrange(_pad_end(_to_space(x, blocks), blocks.overhang), blocks.cut, **blocks.sizes)


def _from_blocks(x: Float[Tensor, "Bb n h D"], blocks: Tiling) -> Float[Tensor, "B cells h D"]:
    """The inverse of `_to_blocks`, cells without a token included."""
    x = rearrange(x, blocks.join, **blocks.sizes)
    return x[:, *(slice(cells) for cells in blocks.space)].flatten(1, -3)


def _pad_end(x: Tensor, cells: Sequence[int]) -> Tensor:
    """Zeros behind the axes that follow the batch; x itself where there is nothing to add."""
    if not any(cells):
        return x
    widths = [(0, 0)] * (x.ndim - 1 - len(cells)) + [(0, more) for more in reversed(cells)]
    return F.pad(x, [side for width in widths for side in width])
