"""Performer in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.feature_maps_torch import factored_attention, heads_first
from attention_impls.ops.torch_ops import Real, Tokens
from attention_impls.performer import PROJECTION, Options, added


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    queries, keys, values = (heads_first(x) for x in (q, k, v))
    scale = layer.dims.head_dim**-0.25
    projection = scale * layer.constants[PROJECTION].to(queries.dtype)
    if layer.options.kind == "softmax":
        queries, keys = (_exponents(x, projection, scale) for x in (queries, keys))
        queries, keys = _stabilised(queries, keys, layer.real)  # eq. (softmax-features)
    else:
        queries, keys = ((x @ projection.T).relu() for x in (queries, keys))  # eq. (relu-features)
    keys = keys + added(layer.options)
    if layer.real is not None:
        keys = keys.masked_fill(~layer.real[:, None, :, None], 0.0)
    out, total = factored_attention(queries + added(layer.options), keys, values)
    # Only an example without tokens has no similarity at all.  # eq. (output)
    return (out / total.masked_fill(total == 0, 1.0)).transpose(1, 2).to(v.dtype)


def _exponents(x: Float[Tensor, "B H N D"], projection: Float[Tensor, "M D"], scale: float) -> Float[Tensor, "B H N M"]:
    """W x − ‖x‖²/2 of the scaled vector; the scale of W x is already in the projection."""
    return x @ projection.T - (x * scale).square().sum(-1, keepdim=True) / 2


def _stabilised(
    queries: Float[Tensor, "B H N M"], keys: Float[Tensor, "B H N M"], real: Real | None
) -> tuple[Float[Tensor, "B H N M"], Float[Tensor, "B H N M"]]:
    """exp of each less its largest: a query's own, and that of all real keys of the example and head."""
    if real is not None:
        keys = keys.masked_fill(~real[:, None, :, None], torch.finfo(keys.dtype).min)
    return (queries - queries.amax(-1, keepdim=True)).exp(), (keys - keys.amax((2, 3), keepdim=True)).exp()
