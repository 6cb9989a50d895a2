"""Linear attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import depthwise_conv, zero_padding


def attend(
    q: Float[Tensor, "B N H D"], k: Float[Tensor, "B N H D"], v: Float[Tensor, "B N H D"], layer: Layer[Options]
) -> Float[Tensor, "B N H D"]:
    out = _attention(q, k, v, layer.real)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out


def _attention(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    real: Bool[Tensor, "B N"] | None,
) -> Float[Tensor, "B N H D"]:
    queries, keys, v = (x.transpose(1, 2) for x in (_features(q), zero_padding(_features(k), real), v))
    total = queries @ keys.sum(2)[..., None]
    return (queries @ (keys.mT @ v) / (total + EPSILON)).transpose(1, 2)


def _features(x: Float[Tensor, "B N H D"]) -> Float[Tensor, "B N H D"]:
    """elu(x) + 1, written so that the 1 does not round small features away."""
    positive = x.relu()
    return positive + (x - positive).exp()
