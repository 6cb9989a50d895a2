"""Nyströmformer in NumPy, float64, from Xiong et al. 2021, on landmarks that have tokens."""

from __future__ import annotations

import itertools
import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.nystrom import Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax
from attention_impls.ops.token_conv import FILTER


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        scale = math.sqrt(layer.dims.head_dim)
        for h in range(layer.dims.heads):
            queries, keys = (_landmarks(x[:, h], layer.options.landmarks) for x in (q, k))  # eq. (landmarks)
            first = softmax(q[:, h] @ keys.T / scale, 1)
            middle = softmax(queries @ keys.T / scale, 1)  # eq. (core)
            last = softmax(queries @ k[:, h].T / scale, 1)
            out[:, h] = first @ _inverse(middle, layer.options.iterations) @ last @ v[:, h]  # eq. (output)
            if layer.options.conv_kernel:
                out[:, h] += _conv(v[:, h], layer.params[FILTER][h])
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _landmarks(x: np.ndarray, count: int) -> np.ndarray:
    """Means of the segments that are not empty."""
    edges = [i * len(x) // count for i in range(count + 1)]
    return np.array([x[i:j].mean(0) for i, j in itertools.pairwise(edges) if j > i])


def _inverse(a: np.ndarray, iterations: int) -> np.ndarray:
    """The iteration towards the pseudo-inverse, and its start."""
    z = a.T / (np.linalg.norm(a, 1) * np.linalg.norm(a, np.inf))  # eq. (inverse)
    one = np.eye(len(a))
    for _ in range(iterations):
        z = z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z))) / 4  # eq. (inverse)
    return z


def _conv(v: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Σ_s weight[s] v[i + s − middle], over tokens that exist."""
    out = np.zeros(v.shape)
    for i in range(len(v)):
        for s, tap in enumerate(weight):
            if 0 <= i + s - len(weight) // 2 < len(v):
                out[i] += tap * v[i + s - len(weight) // 2]
    return out
