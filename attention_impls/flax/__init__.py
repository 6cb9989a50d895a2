"""The mechanisms as Flax NNX modules: a layer of (q, k, v), and a replacement of nnx.MultiHeadAttention."""

from __future__ import annotations

from attention_impls.flax.layer import Attention, Constant, Penalty
from attention_impls.flax.multihead import MultiHeadAttention, attention_fn

__all__ = ["Attention", "Constant", "MultiHeadAttention", "Penalty", "attention_fn"]
