"""cosFormer in PyTorch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.cosformer import EPSILON, Options
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first, tokens_first
from attention_impls.ops.torch_ops import Lengths, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    waves = _waves(queries, layer.lengths)
    queries, keys = (_features(x, waves) for x in (queries, keys))
    out, total = factored_attention(queries, keys, values, layer.real)  # eq. (similarity)
    return tokens_first(out * total.clamp_min(EPSILON).reciprocal(), v.dtype)  # eq. (output)


def _waves(x: Float[Tensor, "B H N D"], lengths: Lengths | None) -> Float[Tensor, "b 1 N 2 1"]:
    """Sine and cosine of π/2 · i / length for i = 1 … N, in the dtype of x; one row where all lengths are N."""
    tokens = x.shape[2]
    places = torch.arange(1, tokens + 1, dtype=x.dtype, device=x.device)
    shares = (places / tokens)[None] if lengths is None else places / lengths.clamp_min(1)[:, None]
    angles = (math.pi / 2) * shares[:, None, :, None]
    return torch.stack([angles.sin(), angles.cos()], 3)


def _features(x: Float[Tensor, "B H N D"], waves: Float[Tensor, "b 1 N 2 1"]) -> Float[Tensor, "B H N F"]:
    """ReLU(x) times the sine and times the cosine of its angle, F = 2D."""
    return (x.relu()[..., None, :] * waves).flatten(-2)
