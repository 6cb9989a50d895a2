"""The mechanisms as PyTorch modules: a layer of (q, k, v), and a replacement of torch.nn.MultiheadAttention."""

from __future__ import annotations

from attention_impls.torch.layer import Attention
from attention_impls.torch.multihead import MultiheadAttention

__all__ = ["Attention", "MultiheadAttention"]
