"""Linformer in NumPy, float64, from Wang et al. 2020, equation 7."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.linformer import KEYS, VALUES, Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        mix_keys = layer.params[KEYS][:, : len(k)]
        mix_values = mix_keys if layer.options.share_projections else layer.params[VALUES][:, : len(v)]
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            scores = q[:, h] @ (mix_keys @ k[:, h]).T / math.sqrt(layer.dims.head_dim)  # eq. (mix), (output)
            out[:, h] = softmax(scores, 1) @ (mix_values @ v[:, h])  # eq. (mix), (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
