"""Performer in PyTorch. No array of features is made: they are softmax times a number of the token, plus ε."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first, tokens_first, with_ones
from attention_impls.ops.products_torch import over_tokens
from attention_impls.ops.softmax_torch import softmax_parts
from attention_impls.ops.torch_ops import Real, Tokens
from attention_impls.performer import PROJECTION, Options, added


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    scale = layer.dims.head_dim**-0.25
    projection = (scale * layer.constants[PROJECTION].to(queries.dtype)).T.expand(*queries.shape[:2], -1, -1)
    projected = queries @ projection, keys @ projection
    if layer.options.kind == "softmax":
        lengths = (keys * scale).square().sum(-1, keepdim=True) / 2
        out, total = _softmax_kind(*projected, lengths, values, layer.real, layer.options.epsilon)
    else:
        features, others = (x.relu() + added(layer.options) for x in projected)  # eq. (relu-features)
        out, total = factored_attention(features, others, values, layer.real)
    # Only an example without tokens has no similarity at all.
    return tokens_first(out * total.masked_fill(total == 0, 1.0).reciprocal(), v.dtype)  # eq. (output)


def _softmax_kind(
    queries: Float[Tensor, "B H N M"],
    keys: Float[Tensor, "B H N M"],
    lengths: Float[Tensor, "B H N 1"],
    v: Float[Tensor, "B H N D"],
    real: Real | None,
    epsilon: float,
) -> tuple[Float[Tensor, "B H N D"], Float[Tensor, "B H N 1"]]:
    """The two sums of the output, both times max softmax(W q), from W q, W k and ‖k‖²/2.

    `φ(q) − ε` is `exp(W q − max W q) = softmax(W q) / max softmax(W q)`, since ‖q‖²/2 is in its s too. `φ(k) − ε` is
    `softmax(W k) Σ exp(W k − ‖k‖²/2 − s)`. Its second factor is multiplied onto [v, 1], the smaller array.
    """
    values = with_ones(v, real)
    shares, log_sum, top = softmax_parts(keys)
    most = top - lengths  # the largest exponent of each key
    if real is not None:
        most = most.masked_fill(~real[:, None, :, None], torch.finfo(most.dtype).min)
    weight = (most - most.amax(2, keepdim=True) + (log_sum - top)).exp()  # eq. (softmax-features)
    context = over_tokens(shares, weight * values) + epsilon * values.sum(2, keepdim=True)
    shares, log_sum, top = softmax_parts(queries)
    found = shares @ context + epsilon * (top - log_sum).exp() * context.sum(2, keepdim=True)
    out, total = found.split([v.shape[-1], 1], -1)
    return out, total
