"""SGConv in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.fourier_torch import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.torch_ops import Tokens
from attention_impls.sgconv import KERNEL, Options, needed


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = torch.promote_types(x.dtype, torch.float32)
    pieces = [
        size * _stretched(layer.params[f"{KERNEL}.{number}"].to(wide), factor)
        for number, (size, factor) in enumerate(needed(layer.options, layer.dims, x.shape[1]))
    ]
    after, before = torch.cat(pieces, 2)[..., : x.shape[1]]  # eq. (kernel)
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)


def _stretched(taps: Float[Tensor, "2 C taps"], factor: int) -> Float[Tensor, "2 C lags"]:
    """Linear interpolation to so many times as many points, flat beyond the outer taps; to none, for a factor of 0."""
    way = (torch.arange(factor, dtype=taps.dtype, device=taps.device) + 0.5) / max(factor, 1) - 0.5  # `between`, there
    last = torch.cat([taps[..., :1], taps[..., :-1]], 2)[..., None]
    following = torch.cat([taps[..., 1:], taps[..., -1:]], 2)[..., None]
    return (taps[..., None] * (1 - way.abs()) + last * (-way).relu() + following * way.relu()).flatten(2)
