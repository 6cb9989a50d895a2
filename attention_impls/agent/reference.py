"""Agent attention in NumPy, float64, from Han et al. 2024."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.agent import GATHER, READ, Options
from attention_impls.base import Layer
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Tokens, depthwise_conv, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        n, scale, out = len(q), math.sqrt(layer.dims.head_dim), np.empty(v.shape)
        edges = [i * n // layer.options.agents for i in range(layer.options.agents + 1)]
        filled = [i for i in range(layer.options.agents) if edges[i + 1] > edges[i]]
        for h in range(layer.dims.heads):
            agents = np.array([q[edges[i] : edges[i + 1], h].mean(0) for i in filled])  # eq. (agents)
            first, second = (
                np.array([_stretch(layer.params[name][h, i], n) for i in filled]) for name in (GATHER, READ)
            )
            gathered = softmax(agents @ k[:, h].T / scale + first, 1) @ v[:, h]  # eq. (gather)
            out[:, h] = softmax(q[:, h] @ agents.T / scale + second.T, 1) @ gathered  # eq. (read)
        return out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS]) if layer.options.local_conv else out

    return each_example(q, k, v, layer.lengths, attend_one)


def _stretch(row: np.ndarray, tokens: int) -> np.ndarray:
    """Linear interpolation: entry p stands at (p + ½) / entries, token t at (t + ½) / tokens; constant at the ends."""
    return np.interp((np.arange(tokens) + 0.5) / tokens, (np.arange(len(row)) + 0.5) / len(row), row)
