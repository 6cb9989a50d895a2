"""Primal attention in NumPy, float64, from Chen et al. 2023: one head and one token at a time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Tokens
from attention_impls.primal import BIAS, LAMBDA, PROJECTION_E, PROJECTION_R, WEIGHT, Options


def attend(
    x: Float[np.ndarray, "B N C"], q: Tokens, k: Tokens, layer: Layer[Options]
) -> tuple[Tokens, Float[np.ndarray, " B"]]:
    out, penalty = np.zeros(q.shape), np.zeros(len(q))
    for b in range(len(q)):
        n = q.shape[1] if layer.lengths is None else int(layer.lengths[b])
        if n == 0:
            continue
        objectives = []
        for h in range(layer.dims.heads):
            part = slice(h * layer.dims.head_dim, (h + 1) * layer.dims.head_dim)
            sampled = _sampled(x[b, :n, part].astype(np.float64), layer.options)
            w_e, w_r = layer.params[PROJECTION_E][h], layer.params[PROJECTION_R][h]
            scale = np.diag(layer.params[LAMBDA][h])
            left = right = 0.0
            for i in range(n):
                e = (q[b, i, h] / np.linalg.norm(q[b, i, h])) @ sampled.T @ w_e  # eq. (scores)
                r = (k[b, i, h] / np.linalg.norm(k[b, i, h])) @ sampled.T @ w_r  # eq. (scores)
                out[b, i, h] = np.concatenate([e, r]) @ layer.params[WEIGHT] + layer.params[BIAS]  # eq. (output)
                left, right = left + np.sum((scale @ e) ** 2) / n, right + np.sum((scale @ r) ** 2) / n
            objectives.append(left / 2 + right / 2 - np.trace(w_e.T @ w_r))
        penalty[b] = layer.options.eta * np.mean(objectives) ** 2  # eq. (penalty)
    return out, penalty


def _sampled(rows: Float[np.ndarray, "n D"], options: Options) -> Float[np.ndarray, "P D"]:
    """Tokens at even steps from the first to the last, rounded down."""
    count = options.rank * options.rank_multiple
    if count == 1:
        return rows[:1]
    return np.stack([rows[a * (len(rows) - 1) // (count - 1)] for a in range(count)])
