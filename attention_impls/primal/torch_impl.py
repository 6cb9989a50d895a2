"""Primal attention in PyTorch."""

from __future__ import annotations

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.feature_maps_torch import heads_first
from attention_impls.ops.torch_ops import Lengths, Real, Tokens
from attention_impls.primal import BIAS, LAMBDA, PROJECTION_E, PROJECTION_R, SMALLEST_NORM, WEIGHT, Options


def attend(
    x: Float[Tensor, "B N C"], q: Tokens, k: Tokens, layer: Layer[Options]
) -> tuple[Tokens, Float[Tensor, " B"]]:
    tokens = q.shape[1]
    queries, keys = (_directions(heads_first(y), layer.real) for y in (q, k))
    weights_e, weights_r = (layer.params[name].to(queries.dtype) for name in (PROJECTION_E, PROJECTION_R))
    sampled = _sampled(x, layer.lengths, weights_e.shape[1])
    rows = rearrange(sampled, "B P (H D) -> B H D P", H=layer.dims.heads).to(queries.dtype)
    e, r = queries @ (rows @ weights_e), keys @ (rows @ weights_r)  # eq. (scores)

    first, second = layer.params[WEIGHT].to(e.dtype).chunk(2)
    out = e @ first + r @ second + layer.params[BIAS]  # eq. (output)

    count = torch.full((len(q),), tokens, device=q.device) if layer.lengths is None else layer.lengths
    objective = _squares(e, r, layer.params[LAMBDA]) / count.clamp_min(1) - (weights_e * weights_r).sum()
    penalty = layer.options.eta * (objective / layer.dims.heads).square()  # eq. (penalty)
    return out.transpose(1, 2).to(q.dtype), penalty.masked_fill(count == 0, 0.0)


def _directions(x: Float[Tensor, "B H N D"], real: Real | None) -> Float[Tensor, "B H N D"]:
    """x / ‖x‖, zero at padded tokens so that they count in no sum."""
    if real is not None:
        x = x.masked_fill(~real[:, None, :, None], 0.0)
    return x * x.square().sum(-1, keepdim=True).clamp_min(SMALLEST_NORM**2).rsqrt()


def _squares(
    e: Float[Tensor, "B H N s"], r: Float[Tensor, "B H N s"], scale: Float[Tensor, "H s"]
) -> Float[Tensor, " B"]:
    """½ Σ ‖Λe‖² + ½ Σ ‖Λr‖² over heads and tokens; Λ after the sum over tokens, which leaves less to multiply."""
    return ((e.square() + r.square()).sum(2) * scale.square()).sum((1, 2)) / 2


def _sampled(x: Float[Tensor, "B N C"], lengths: Lengths | None, rows: int) -> Float[Tensor, "B P C"]:
    """`rows` tokens spread evenly over each example's real ones, its first and its last among them."""
    steps = torch.arange(rows, device=x.device)
    if lengths is None:
        return x[:, steps * (x.shape[1] - 1) // max(rows - 1, 1)]
    index = steps * (lengths.clamp_min(1) - 1)[:, None] // max(rows - 1, 1)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
