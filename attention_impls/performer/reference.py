"""Performer in NumPy, float64, from Choromanski et al. 2021: the estimated attention matrix, written out."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Example, Tokens, each_example
from attention_impls.performer import PROJECTION, Options, added


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    projection = layer.constants[PROJECTION]

    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            queries, keys = q[:, h] / layer.dims.head_dim**0.25, k[:, h] / layer.dims.head_dim**0.25
            if layer.options.kind == "softmax":
                queries = np.exp(queries @ projection.T - (queries**2).sum(1, keepdims=True) / 2)
                keys = np.exp(keys @ projection.T - (keys**2).sum(1, keepdims=True) / 2)
                queries, keys = queries / queries.max(1, keepdims=True), keys / keys.max()  # eq. (softmax-features)
            else:
                queries, keys = (np.maximum(x @ projection.T, 0) for x in (queries, keys))  # eq. (relu-features)
            similarity = (queries + added(layer.options)) @ (keys + added(layer.options)).T
            out[:, h] = similarity @ v[:, h] / similarity.sum(1, keepdims=True)  # eq. (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
