"""Linear attention in PyTorch."""

from __future__ import annotations

from attention_impls.base import Layer
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.torch_ops import Real, Tokens, with_local_conv, zero_padding


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    out = _attention(q, k, v, layer.real)
    return with_local_conv(out, v, layer)


def _attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None) -> Tokens:
    queries, keys, v = (x.transpose(1, 2) for x in (_features(q), zero_padding(_features(k), real), v))
    total = queries @ keys.sum(2)[..., None]
    return (queries @ (keys.mT @ v) / (total + EPSILON)).transpose(1, 2)  # eq. (output)


def _features(x: Tokens) -> Tokens:
    """elu(x) + 1, written so that the 1 does not round small features away."""
    positive = x.relu()
    return positive + (x - positive).exp()  # eq. (features)
