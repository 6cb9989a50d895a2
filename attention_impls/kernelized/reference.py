"""Kernelized attention in NumPy, float64, from Chen et al. 2021: distances between points, no products."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.kernelized import Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            squares = ((q[:, None, h] - k[None, :, h]) ** 2).sum(-1)
            out[:, h] = np.exp(-squares / (2 * math.sqrt(layer.dims.head_dim))) @ v[:, h]  # eq. (kernel), (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
