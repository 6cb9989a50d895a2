"""Linear attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.torch_ops import depthwise_conv, real_tokens, zero_padding


def attend(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    *,
    lengths: Int[Tensor, " B"] | None,
    params: dict[str, Tensor],
    constants: dict[str, Tensor],
    options: Options,
    dims: Dims,
) -> Float[Tensor, "B N H D"]:
    check_length(q.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    out = _attention(q, k, v, real)
    if options.local_conv:
        out = out + depthwise_conv(zero_padding(v, real), params[WEIGHT], params[BIAS])
    return zero_padding(out, real)


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
