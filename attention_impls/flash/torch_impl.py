"""Flash attention in PyTorch: flash-attn, or the framework's own kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from attention_impls.base import Dims, check_length
from attention_impls.flash import Options
from attention_impls.flash.kernels import flash_attn_installed, kernel_used
from attention_impls.ops.torch_ops import real_tokens, softmax_attention, zero_padding

# One backend each, so that an impossible kernel is an error and never a quadratic one in its place.
_SDPA = {
    "sdpa cpu": SDPBackend.FLASH_ATTENTION,
    "sdpa flash": SDPBackend.FLASH_ATTENTION,
    "sdpa efficient": SDPBackend.EFFICIENT_ATTENTION,
}


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
    tokens = q.shape[1]
    check_length(tokens, dims)
    kernel = kernel_used(
        options.kernel,
        backend="torch",
        device=q.device.type,
        dtype=str(q.dtype).removeprefix("torch."),
        head_dim=q.shape[-1],
        tokens=tokens,
        ragged=lengths is not None,
        flash_attn=flash_attn_installed(),
    )
    real = None if lengths is None else real_tokens(lengths, tokens)
    if kernel == "flash-attn":
        return _flash_attn(q, k, v, lengths, real)
    with sdpa_kernel(_SDPA[kernel]):
        return zero_padding(softmax_attention(q, k, zero_padding(v, real), real), real)


def _flash_attn(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    lengths: Int[Tensor, " B"] | None,
    real: Bool[Tensor, "B N"] | None,
) -> Float[Tensor, "B N H D"]:
    """By the package flash-attn; a ragged batch as its real tokens in one row, which costs nothing for padding."""
    from flash_attn import flash_attn_func, flash_attn_varlen_func  # pyright: ignore[reportMissingImports]

    if lengths is None or real is None:
        return flash_attn_func(q, k, v)
    borders = F.pad(lengths.cumsum(0), (1, 0)).to(torch.int32)
    packed = [x[real] for x in (q, k, v)]
    if len(packed[0]) == 0:
        return v.masked_fill(~real[:, :, None, None], 0)
    out = flash_attn_varlen_func(*packed, borders, borders, q.shape[1], q.shape[1])
    return torch.zeros_like(v).index_put((real,), out)
