"""Linear attention in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first, tokens_first
from attention_impls.ops.torch_ops import Real, Tokens, with_local_conv


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    out = _attention(q, k, v, layer.real)
    return with_local_conv(out, v, layer)


def _attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None) -> Tokens:
    queries, keys = (_features(heads_first(x)) for x in (q, k))
    out, total = factored_attention(queries, keys, heads_first(v), real)
    return tokens_first(out * (total + EPSILON).reciprocal(), v.dtype)  # eq. (output)


def _features(x: Float[Tensor, "B H N D"]) -> Float[Tensor, "B H N D"]:
    """elu(x) + 1, written so that the 1 does not round small features away."""
    result: Tensor = _Features.apply(x)
    return result


class _Features(torch.autograd.Function):
    """max(0, x) + exp(min(0, x)), whose slope is the smaller of itself and 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        features = x.clamp_max(0).exp_().add_(x.clamp_min(0))  # eq. (features)
        ctx.save_for_backward(features)
        return features

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        (features,) = ctx.saved_tensors
        return gradients[0] * features.clamp_max(1)
