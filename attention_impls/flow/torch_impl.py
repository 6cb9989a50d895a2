"""Flow attention in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.flow import EPSILON, Options
from attention_impls.ops.feature_maps_torch import heads_first, tokens_first
from attention_impls.ops.products_torch import over_tokens
from attention_impls.ops.torch_ops import Real, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens, parts = q.shape[1], [v.shape[-1], 1]
    sinks, sources = _features(q, layer.real), _features(k, layer.real)
    count = tokens if layer.lengths is None else layer.lengths[:, None, None, None]
    inflow, outflow = (_flow(x, y.sum(2, keepdim=True)) for x, y in ((sinks, sources), (sources, sinks)))  # eq. (flow)
    conserved_outflow = _flow(sources, over_tokens(sinks, inflow.reciprocal()).mT)  # eq. (conserved)
    competition = count * _softmax_over_tokens(conserved_outflow, layer.real)  # eq. (output)
    # The conserved inflow is one more column of both products: a product with a vector alone costs as much as with 32.
    summed = over_tokens(sources, torch.cat([heads_first(v) * competition, outflow.reciprocal()], -1))
    context, capacity = summed.split(parts, -1)
    capacity = capacity + EPSILON
    out, conserved_inflow = (sinks @ torch.cat([context, capacity], -1)).split(parts, -1)
    conserved_inflow = conserved_inflow + EPSILON * capacity.sum(2, keepdim=True)  # eq. (conserved)
    return tokens_first(out * (conserved_inflow.sigmoid() * inflow.reciprocal()), v.dtype)


def _features(x: Tokens, real: Real | None) -> Float[Tensor, "B H N D"]:
    """sigmoid(x), zero at padded tokens, which are neither sinks nor sources."""
    features = heads_first(x).sigmoid()
    return features if real is None else features * real[:, None, :, None].to(features.dtype)


def _flow(x: Float[Tensor, "B H N D"], capacity: Float[Tensor, "B H 1 D"]) -> Float[Tensor, "B H N 1"]:
    """What flows through each token, given what the other side holds in total: (x + ε)(capacity + ε)ᵀ."""
    capacity = capacity + EPSILON
    return (x * capacity).sum(-1, keepdim=True) + EPSILON * capacity.sum(-1, keepdim=True)


def _softmax_over_tokens(x: Float[Tensor, "B H N 1"], real: Real | None) -> Float[Tensor, "B H N 1"]:
    """Softmax over real tokens; a finite fill keeps it finite where there is none."""
    if real is not None:
        x = x.masked_fill(~real[:, None, :, None], torch.finfo(x.dtype).min)
    return x.softmax(2)
