"""Sparse Transformer attention in NumPy, float64, as a dense mask: Child et al. 2019, section 4, without j ≤ i."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax
from attention_impls.sparse import Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        seen = np.array([[_sees(i, j, layer.options) for j in range(len(v))] for i in range(len(v))])
        for h in range(layer.dims.heads):
            scores = q[:, h] @ k[:, h].T / math.sqrt(layer.dims.head_dim)
            out[:, h] = softmax(np.where(seen, scores, -np.inf), 1) @ v[:, h]  # eq. (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _sees(i: int, j: int, options: Options) -> bool:
    """Whether token i sees token j."""
    s = options.stride
    if options.pattern == "fixed":
        return i // s == j // s or j % s >= s - options.summary  # eq. (fixed)
    return abs(i - j) <= s // 2 or (i - j) % s == 0  # eq. (strided)
