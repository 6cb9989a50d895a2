"""Focused linear attention in NumPy, float64, from Han et al. 2023, one token at a time."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Layer
from attention_impls.focused_linear import BIAS, EPSILON, POSITION, SCALE, WEIGHT, Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    softplus = np.log1p(np.exp(layer.params[SCALE]))
    half = layer.options.kernel_size // 2

    def attend_one(q: Example, k: Example, v: Example) -> Example:
        n, out = len(v), np.empty(v.shape)
        queries = np.stack([_focused(x, softplus, layer.options.focus) for x in q])
        keys = np.stack([_focused(x, softplus, layer.options.focus) for x in k + layer.params[POSITION][:n]])
        for i in range(n):
            similarity = (queries[i] * keys).sum(2)
            total = (queries[i] * keys.mean(0)).sum(1) + EPSILON
            out[i] = (similarity[:, :, None] * v).mean(0) / total[:, None] + layer.params[BIAS]  # eq. (output)
            for j in range(max(0, i - half), min(n, i + half + 1)):
                out[i] += layer.params[WEIGHT][:, j - i + half] * v[j]
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _focused(x: np.ndarray, softplus: np.ndarray, power: int) -> np.ndarray:
    """φ of one token (H, D); norms over all of its features."""
    f = (np.maximum(x, 0) + EPSILON) / softplus
    return np.linalg.norm(f) * f**power / np.linalg.norm(f**power)  # eq. (features)
