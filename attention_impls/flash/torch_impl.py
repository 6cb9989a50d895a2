"""Flash attention in PyTorch: flash-attn, or the framework's own kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from attention_impls.base import Layer
from attention_impls.flash import Options
from attention_impls.ops.torch_ops import Lengths, Tokens, softmax_attention

# One backend each, so that an impossible kernel is an error and never a quadratic one in its place.
_SDPA = {
    "sdpa cpu": SDPBackend.FLASH_ATTENTION,
    "sdpa flash": SDPBackend.FLASH_ATTENTION,
    "sdpa efficient": SDPBackend.EFFICIENT_ATTENTION,
}
PADDING = 512  # tokens that a sequence of padding has at most in a ragged batch


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    if layer.kernel in ("flash-attn", "sdpa varlen"):
        if layer.lengths is None:
            return _flash_attn().flash_attn_func(q, k, v)
        attention = _flash_attn().flash_attn_varlen_func if layer.kernel == "flash-attn" else _torch_varlen()
        return _varlen(attention, q, k, v, layer.lengths)
    with sdpa_kernel(_SDPA[layer.kernel]):
        return softmax_attention(q, k, v, layer.real)  # eq. (output), (running)


def _flash_attn() -> Any:
    import flash_attn  # pyright: ignore[reportMissingImports]

    return flash_attn


def _torch_varlen() -> Callable[..., Any]:
    from torch.nn.attention.varlen import varlen_attn  # not there before PyTorch 2.10

    return varlen_attn


def _varlen(attention: Callable[..., Any], q: Tokens, k: Tokens, v: Tokens, lengths: Lengths) -> Tokens:
    """A ragged batch by a function for sequences of any length. Rows of padded queries are not zeroed.

    Tokens are not moved, so no shape depends on the lengths, and the host need not wait for them. An example's padding
    becomes short sequences of its own, whose cost is linear.
    """
    batch, tokens = q.shape[:2]
    cuts = torch.arange(0, tokens + PADDING, PADDING, device=q.device).clamp(max=tokens)
    ends = torch.maximum(cuts, lengths[:, None]) + tokens * torch.arange(batch, device=q.device)[:, None]
    borders = F.pad(ends.flatten(), (1, 0)).to(torch.int32)
    out = attention(*(x.flatten(0, 1) for x in (q, k, v)), borders, borders, tokens, tokens)
    return out.unflatten(0, (batch, tokens))
