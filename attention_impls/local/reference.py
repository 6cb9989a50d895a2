"""Local attention in NumPy, float64, one block after another: Tay et al. 2021, appendix B."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.local import Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for first in range(0, len(v), layer.options.block_size):
            block = slice(first, first + layer.options.block_size)
            for h in range(layer.dims.heads):
                scores = q[block, h] @ k[block, h].T / math.sqrt(layer.dims.head_dim)
                out[block, h] = softmax(scores, 1) @ v[block, h]  # eq. (block)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
