"""A wide depthwise convolution over tokens in PyTorch. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.ops.token_conv import BLOCK, band
from attention_impls.ops.torch_ops import Tokens


def token_conv(v: Tokens, weight: Float[Tensor, "H kernel"]) -> Tokens:
    """Σ_s weight[s] · v[i + s − ⌊kernel/2⌋], zeros beyond the ends: a head's banded matrix times windows of tokens."""
    (batch, tokens), kernel = v.shape[:2], weight.shape[1]
    blocks, side = -(-tokens // BLOCK), kernel // 2
    padded = F.pad(v, (0, 0, 0, 0, side, side + blocks * BLOCK - tokens))
    windows = padded.unfold(1, BLOCK + kernel - 1, BLOCK)
    bands = F.pad(weight, (0, 1))[:, torch.from_numpy(band(kernel)).to(v.device)]
    out = torch.einsum("hxw,bnhdw->bnxhd", bands, windows)
    return out.reshape(batch, blocks * BLOCK, *v.shape[2:])[:, :tokens]
