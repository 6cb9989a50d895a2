"""Flow attention in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.flow import EPSILON, Options
from attention_impls.ops.feature_maps_torch import heads_first
from attention_impls.ops.torch_ops import Real, Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    sinks, sources = _features(q, layer.real), _features(k, layer.real)
    count = tokens if layer.lengths is None else layer.lengths[:, None, None, None]
    inflow, outflow = _flow(sinks, sources.sum(2)[..., None]), _flow(sources, sinks.sum(2)[..., None])  # eq. (flow)
    conserved_inflow = _flow(sinks, sources.mT @ outflow.reciprocal())  # eq. (conserved)
    conserved_outflow = _flow(sources, sinks.mT @ inflow.reciprocal())  # eq. (conserved)
    competition = count * _softmax_over_tokens(conserved_outflow, layer.real)  # eq. (output)
    out = (sinks / inflow) @ (sources.mT @ (heads_first(v) * competition))
    return (conserved_inflow.sigmoid() * out).transpose(1, 2).to(v.dtype)


def _features(x: Tokens, real: Real | None) -> Float[Tensor, "B H N D"]:
    """sigmoid(x), zero at padded tokens, which are neither sinks nor sources."""
    features = heads_first(x).sigmoid()
    return features if real is None else features.masked_fill(~real[:, None, :, None], 0.0)


def _flow(x: Float[Tensor, "B H N D"], capacity: Float[Tensor, "B H D 1"]) -> Float[Tensor, "B H N 1"]:
    """What flows through each token, given what the other side holds in total."""
    return (x + EPSILON) @ (capacity + EPSILON)


def _softmax_over_tokens(x: Float[Tensor, "B H N 1"], real: Real | None) -> Float[Tensor, "B H N 1"]:
    """Softmax over real tokens; a finite fill keeps it finite where there is none."""
    if real is not None:
        x = x.masked_fill(~real[:, None, :, None], torch.finfo(x.dtype).min)
    return x.softmax(2)
