"""ELFATT in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.elfatt import Options, global_heads, tiling
from attention_impls.elfatt.kernels import fused_installed, kernel_used
from attention_impls.elfatt.tiling import Tiling
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import (
    depthwise_conv,
    efficient_attention,
    real_tokens,
    softmax_attention,
    zero_padding,
)


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
    tokens, split = q.shape[1], global_heads(options, dims)
    check_length(tokens, dims)
    conv = (params[WEIGHT], params[BIAS]) if options.local_conv else None
    if _kernel(q, options) == "fused":
        from attention_impls.elfatt.triton_attend import attend_fused  # Triton comes with PyTorch's CUDA builds only

        return attend_fused(q, k, v, lengths=lengths, conv=conv, global_heads=split, block_size=options.block_size)
    blocks = tiling(options, dims, tokens)
    real = None if lengths is None else real_tokens(lengths, tokens)
    v = zero_padding(v, real)
    # By `split`, whose gradient is one concatenation; slices would each fill an array with zeros and add it.
    (q, q_blocks), (k, k_blocks), (v, v_blocks) = (x.split([split, dims.heads - split], 2) for x in (q, k, v))
    parts = []
    if split > 0:
        parts.append(_global(q, k, v, real, _of(conv, slice(None, split)), blocks))
    if split < dims.heads:
        parts.append(_blocked(q_blocks, k_blocks, v_blocks, real, _of(conv, slice(split, None)), blocks))
    return zero_padding(torch.cat(parts, 2) if len(parts) > 1 else parts[0], real)


def _kernel(q: Float[Tensor, "B N H D"], options: Options) -> str:
    return kernel_used(
        options.kernel,
        backend="torch",
        device=q.device.type,
        dtype=str(q.dtype).removeprefix("torch."),
        head_dim=q.shape[-1],
        block_size=options.block_size,
        layout=options.layout,
        installed=fused_installed("torch"),
    )


def _of(conv: tuple[Tensor, Tensor] | None, heads: slice) -> tuple[Tensor, Tensor] | None:
    return None if conv is None else (conv[0][heads], conv[1][heads])


def _global(
    q: Float[Tensor, "B N h D"],
    k: Float[Tensor, "B N h D"],
    v: Float[Tensor, "B N h D"],
    real: Bool[Tensor, "B N"] | None,
    conv: tuple[Tensor, Tensor] | None,
    blocks: Tiling,
) -> Float[Tensor, "B N h D"]:
    """Efficient attention over all tokens, and the convolution over the whole space."""
    out = efficient_attention(q, k, v, real)
    if conv is None:
        return out
    return out + depthwise_conv(_to_space(v, blocks), *conv).flatten(1, -3)[:, : v.shape[1]]


def _blocked(
    q: Float[Tensor, "B N h D"],
    k: Float[Tensor, "B N h D"],
    v: Float[Tensor, "B N h D"],
    real: Bool[Tensor, "B N"] | None,
    conv: tuple[Tensor, Tensor] | None,
    blocks: Tiling,
) -> Float[Tensor, "B N h D"]:
    """Softmax attention inside each block, and the convolution with zeros beyond its border."""
    tokens = q.shape[1]
    if real is None and blocks.padded_tokens != tokens:
        real = torch.ones(q.shape[:2], dtype=torch.bool, device=q.device)
    q, k, v = (_to_blocks(x, blocks) for x in (q, k, v))
    out = softmax_attention(q, k, v, None if real is None else _to_blocks(real, blocks))
    if conv is not None:
        out = out + depthwise_conv(v.unflatten(1, blocks.window), *conv).flatten(1, -3)
    return _from_blocks(out, blocks)[:, :tokens]


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
