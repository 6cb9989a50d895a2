"""The mechanisms as Flax NNX modules: `Attention`, a layer of (q, k, v)."""

from __future__ import annotations

from attention_impls.flax.layer import Attention, Constant, Penalty

__all__ = ["Attention", "Constant", "Penalty"]
