"""Flash attention in PyTorch: flash-attn, or the framework's own kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from attention_impls.base import Dims, check_length
from attention_impls.flash import Options
from attention_impls.flash.kernels import flash_attn_installed, kernel_used, torch_has_varlen
from attention_impls.ops.torch_ops import real_tokens, softmax_attention, zero_padding

# One backend each, so that an impossible kernel is an error and never a quadratic one in its place.
_SDPA = {
    "sdpa cpu": SDPBackend.FLASH_ATTENTION,
    "sdpa flash": SDPBackend.FLASH_ATTENTION,
    "sdpa efficient": SDPBackend.EFFICIENT_ATTENTION,
}
PADDING = 512  # tokens that a sequence of padding has at most in a ragged batch


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
        varlen=torch_has_varlen(),
    )
    real = None if lengths is None else real_tokens(lengths, tokens)
    if kernel in ("flash-attn", "sdpa varlen"):
        if lengths is None:
            return _flash_attn().flash_attn_func(q, k, v)
        attention = _flash_attn().flash_attn_varlen_func if kernel == "flash-attn" else _torch_varlen()
        q, k, v = (zero_padding(x, real) for x in (q, k, v))
        return zero_padding(_varlen(attention, q, k, v, lengths), real)
    with sdpa_kernel(_SDPA[kernel]):
        return zero_padding(softmax_attention(q, k, zero_padding(v, real), real), real)


def _flash_attn() -> Any:
    import flash_attn  # pyright: ignore[reportMissingImports]

    return flash_attn


def _torch_varlen() -> Callable[..., Any]:
    from torch.nn.attention.varlen import varlen_attn  # not there before PyTorch 2.10

    return varlen_attn


def _varlen(
    attention: Callable[..., Any],
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    lengths: Int[Tensor, " B"],
) -> Float[Tensor, "B N H D"]:
    """A ragged batch by a function for sequences of any length. Rows of padded queries are not zeroed.

    All tokens stay where they are, and so no shape depends on the lengths, for which the host would have to wait: an
    example's padding becomes sequences of its own, short ones, whose cost is linear.
    """
    batch, tokens = q.shape[:2]
    cuts = torch.arange(0, tokens + PADDING, PADDING, device=q.device).clamp(max=tokens)
    ends = torch.maximum(cuts, lengths[:, None]) + tokens * torch.arange(batch, device=q.device)[:, None]
    borders = F.pad(ends.flatten(), (1, 0)).to(torch.int32)
    out = attention(*(x.flatten(0, 1) for x in (q, k, v)), borders, borders, tokens, tokens)
    return out.unflatten(0, (batch, tokens))
