"""Skyformer in NumPy, float64, from Chen et al. 2021: the sampled columns of the kernel on [Q; K], head by head."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Example, Tokens, each_example
from attention_impls.skyformer import POINTS, Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        n, out = len(q), np.empty(v.shape)
        half = layer.options.features // 2
        sampled = [math.floor(u * n) + (0 if i < half else n) for i, u in enumerate(layer.constants[POINTS])]
        for h in range(layer.dims.heads):
            columns = _kernel(np.concatenate([q[:, h], k[:, h]]))[:, sampled]
            inverse = _inverse(
                columns[sampled] + layer.options.regularizer * np.eye(len(sampled)), layer.options.iterations
            )
            out[:, h] = columns[:n] @ inverse @ columns[n:].T @ v[:, h]  # eq. (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _kernel(points: np.ndarray) -> np.ndarray:
    """exp(−‖x − y‖² / (2 √D)) of every two points."""
    squares = ((points[:, None] - points[None]) ** 2).sum(-1)
    return np.exp(-squares / (2 * math.sqrt(points.shape[1])))  # eq. (kernel)


def _inverse(matrix: np.ndarray, iterations: int) -> np.ndarray:
    """The iteration on D^(−½) M D^(−½), D the sums of M's rows, and D^(−½) on both sides of its result."""
    half = np.diag(1 / np.sqrt(matrix.sum(1)))
    a, one = half @ matrix @ half, np.eye(len(matrix))
    z = one
    for _ in range(iterations):
        z = z @ (13 * one - a @ z @ (15 * one - a @ z @ (7 * one - a @ z))) / 4  # eq. (iteration)
    return half @ z @ half  # eq. (inverse)
