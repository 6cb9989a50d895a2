"""Flash attention in NumPy, float64: it is softmax attention, Vaswani et al. 2017, equation 1."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.flash import Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            scores = q[:, h] @ k[:, h].T / math.sqrt(layer.dims.head_dim)
            out[:, h] = softmax(scores, 1) @ v[:, h]  # eq. (output), where (running) ends too
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
