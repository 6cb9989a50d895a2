"""Focused linear attention in PyTorch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.focused_linear import BIAS, EPSILON, POSITION, SCALE, WEIGHT, Options
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first
from attention_impls.ops.torch_ops import Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    queries = _focused(queries, layer.params[SCALE], layer.options.focus)
    keys = _focused(keys + layer.params[POSITION][:tokens].transpose(0, 1), layer.params[SCALE], layer.options.focus)
    if layer.real is None or layer.lengths is None:
        keys = keys / tokens
    else:
        keys = keys.masked_fill(~layer.real[:, None, :, None], 0.0) / layer.lengths.clamp_min(1)[:, None, None, None]
    out, total = factored_attention(queries, keys, values)
    out = out / (total + EPSILON) + _convolved(values, layer.params[WEIGHT], layer.params[BIAS])  # eq. (output)
    return out.transpose(1, 2).to(v.dtype)


def _focused(x: Float[Tensor, "B H N D"], scale: Float[Tensor, "H D"], power: int) -> Float[Tensor, "B H N D"]:
    """φ(x): the norm of f in the direction of f^p, both over the features of all heads."""
    f = (x.relu() + EPSILON) / F.softplus(scale.to(x.dtype))[:, None]
    # A power's direction does not depend on the length of f, so neither does its gradient on this divisor.
    direction = (f / f.detach().amax((1, 3), keepdim=True)) ** power
    norm, length = (torch.linalg.vector_norm(y, dim=(1, 3), keepdim=True) for y in (f, direction))
    return direction * (norm / length)  # eq. (features)


def _convolved(
    v: Float[Tensor, "B H N D"], weight: Float[Tensor, "D K"], bias: Float[Tensor, " D"]
) -> Float[Tensor, "B H N D"]:
    """Depthwise convolution along tokens with zeros beyond the ends, as shifted multiply-adds."""
    taps = weight.shape[1]
    padded = F.pad(v, (0, 0, taps // 2, taps // 2))
    out = bias
    for shift in range(taps):
        out = torch.addcmul(out, padded[:, :, shift : shift + v.shape[2]], weight[:, shift])
    return out
