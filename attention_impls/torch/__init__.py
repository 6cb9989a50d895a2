"""The mechanisms as PyTorch modules: `Attention`, a layer of (q, k, v)."""

from __future__ import annotations

from attention_impls.torch.layer import Attention

__all__ = ["Attention"]
