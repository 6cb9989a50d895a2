"""cosFormer in PyTorch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.cosformer import EPSILON, Options
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first
from attention_impls.ops.torch_ops import Lengths, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    angles = _angles(queries, layer.lengths)
    out, total = factored_attention(_features(queries, angles), _features(keys, angles), values)  # eq. (similarity)
    return (out / total.clamp_min(EPSILON)).transpose(1, 2).to(v.dtype)  # eq. (output)


def _angles(x: Float[Tensor, "B H N D"], lengths: Lengths | None) -> Float[Tensor, "b 1 N 1"]:
    """π/2 · i / length for i = 1 … N, in the dtype of x; one row where all lengths are N."""
    tokens = x.shape[2]
    places = torch.arange(1, tokens + 1, dtype=x.dtype, device=x.device)
    shares = (places / tokens)[None] if lengths is None else places / lengths.clamp_min(1)[:, None]
    return (math.pi / 2) * shares[:, None, :, None]


def _features(x: Float[Tensor, "B H N D"], angles: Float[Tensor, "b 1 N 1"]) -> Float[Tensor, "B H N F"]:
    """ReLU(x) times the sine and times the cosine of its angle, F = 2D."""
    x = x.relu()
    return torch.cat([x * angles.sin(), x * angles.cos()], -1)
