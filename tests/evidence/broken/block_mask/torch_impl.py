"""The keys and values of a block are shifted by one token against its queries; padding stays unseen."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from tests.evidence.broken import copy_of_elfatt, replace

code = copy_of_elfatt()
sound = code.softmax_attention


def shifted(q: Tensor, k: Tensor, v: Tensor, layer: Any, blocks: Any) -> Tensor:
    """Queries of a block with the keys that lie one token further; the convolution where it belongs."""
    real = layer.real
    if real is None:
        real = torch.ones(q.shape[:2], dtype=torch.bool, device=q.device)
    cut = [code._to_blocks(x, blocks) for x in (q, _next(k), _next(v), _next(real))]
    out = sound(*cut)
    if layer.options.local_conv:
        heads = slice(-q.shape[2], None)
        conv = (layer.params[code.WEIGHT][heads], layer.params[code.BIAS][heads])
        straight = code._to_blocks(v, blocks).unflatten(1, blocks.window)
        out = out + code.depthwise_conv(straight, *conv).flatten(1, -3)
    return code._from_blocks(out, blocks)[:, : q.shape[1]]


def _next(x: Tensor) -> Tensor:
    return F.pad(x[:, 1:], [0, 0] * (x.ndim - 2) + [0, 1])


replace(code, "_blocked", shifted)
attend = code.attend
