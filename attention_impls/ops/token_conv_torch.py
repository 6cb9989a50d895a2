"""A wide depthwise convolution over tokens in PyTorch. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.ops.token_conv import BLOCK
from attention_impls.ops.torch_ops import Tokens


def token_conv(v: Tokens, weight: Float[Tensor, "H kernel"], block: int = BLOCK) -> Tokens:
    """Σ_s weight[s] · v[i + s − ⌊kernel/2⌋], zeros beyond the ends: a head's banded matrix times windows of tokens."""
    (batch, tokens), kernel = v.shape[:2], weight.shape[1]
    blocks, side = -(-tokens // block), kernel // 2
    padded = F.pad(v, (0, 0, 0, 0, side, side + blocks * block - tokens))
    windows = padded.unfold(1, block + kernel - 1, block)
    bands = F.pad(weight, (0, 1))[:, _band(kernel, block, v.device)]
    out = torch.einsum("hxw,bnhdw->bnxhd", bands, windows)
    return out.reshape(batch, blocks * block, *v.shape[2:])[:, :tokens]


def _band(kernel: int, block: int, device: torch.device) -> Int[Tensor, "block window"]:
    """`band` of token_conv.py, made on the device: a captured step cannot wait for a copy from the host."""
    tap = torch.arange(block + kernel - 1, device=device) - torch.arange(block, device=device)[:, None]
    return torch.where((tap >= 0) & (tap < kernel), tap, kernel)
