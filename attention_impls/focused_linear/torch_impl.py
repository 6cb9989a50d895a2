"""Focused linear attention in PyTorch."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_impls.base import Layer
from attention_impls.focused_linear import BIAS, EPSILON, POSITION, SCALE, WEIGHT, Options
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first, tokens_first
from attention_impls.ops.torch_ops import Tokens, depthwise_conv


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens, dtype = q.shape[1], v.dtype
    q, k, v = (x.to(torch.promote_types(x.dtype, torch.float32)) for x in (q, k, v))
    queries, keys = _focused(q, layer), _focused(k + layer.params[POSITION][:tokens], layer)
    out, total = factored_attention(queries, keys, heads_first(v), layer.real)
    # Both sums become means over the keys once they are divided by their count.
    count = tokens if layer.lengths is None else layer.lengths.clamp_min(1).to(v.dtype)[:, None, None, None]
    out = tokens_first(out * (total + count * EPSILON).reciprocal(), v.dtype)
    weight, bias = (layer.params[name].to(v.dtype)[None].repeat_interleave(q.shape[2], 0) for name in (WEIGHT, BIAS))
    return (out + depthwise_conv(v, weight, bias)).to(dtype)  # eq. (output)


def _focused(x: Tokens, layer: Layer[Options]) -> Float[Tensor, "B H N D"]:
    """φ(x): the norm of f in the direction of f^p, both over the features of all heads."""
    scale = F.softplus(layer.params[SCALE].to(x.dtype)).reciprocal()
    features: Tensor = _Focused.apply(((x.relu() + EPSILON) * scale).flatten(2), layer.options.focus)
    return heads_first(features.view(x.shape))


class _Focused(torch.autograd.Function):
    """φ (B, N, C) of f > 0.

    With s = Σ g·φ / ‖f‖² of a token, the gradient g of φ becomes s f + p φ (g − s φ) / f.
    """

    @staticmethod
    def forward(ctx: Any, f: Tensor, power: int) -> Tensor:
        direction = (f / f.amax(-1, keepdim=True)) ** power  # the divisor changes no direction
        norm, length = (torch.linalg.vector_norm(y, dim=-1, keepdim=True) for y in (f, direction))
        found = direction.mul_(norm / length)  # eq. (features)
        ctx.save_for_backward(f, found, norm)
        ctx.power = power
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (gradient,) = gradients
        f, found, norm = ctx.saved_tensors
        share = (gradient * found).sum(-1, keepdim=True) / norm.square()
        change = torch.addcmul(gradient, found, share, value=-1).mul_(found / f)
        return torch.addcmul(ctx.power * change, f, share), None
