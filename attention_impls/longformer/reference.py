"""Longformer attention in NumPy, float64, one query at a time: Beltagy et al. 2020, section 3."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from attention_impls.base import Arrays, Layer
from attention_impls.longformer import Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax


def attend(x: Float[np.ndarray, "B N C"], q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(x: Float[np.ndarray, "N C"], q: Example, k: Example, v: Example) -> Example:
        n, out = len(v), np.empty(v.shape)
        for i in range(n):
            if i < layer.options.global_tokens:
                out[i] = _row(*_global(x[:n], i, layer.params, v.shape))  # eq. (global)
                continue
            half, few = layer.options.window // 2, layer.options.global_tokens
            sees = [j for j in range(n) if abs(i - j) <= half or j < few]  # eq. (seen)
            out[i] = _row(q[i], k[sees], v[sees])  # eq. (ordinary)
        return out

    out = np.zeros(v.shape)
    for b in range(len(v)):
        one, real = slice(b, b + 1), None if layer.lengths is None else layer.lengths[b : b + 1]
        out[one] = each_example(q[one], k[one], v[one], real, lambda *qkv, b=b: attend_one(x[b], *qkv))
    return out


def _global(x: np.ndarray, i: int, params: Arrays, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The query of global token i, and the keys and values of all tokens, by the global projections."""
    queries, keys, values = (x @ params[f"global_{name}.weight"] for name in ("query", "key", "value"))
    queries, values = queries + params["global_query.bias"], values + params["global_value.bias"]
    return queries.reshape(shape)[i], keys.reshape(shape), values.reshape(shape)


def _row(q: Float[np.ndarray, "H D"], k: Example, v: Example) -> Float[np.ndarray, "H D"]:
    """softmax(q kᵀ / √D) v for one query."""
    heads = range(len(q))
    return np.stack([softmax(k[:, h] @ q[h] / math.sqrt(q.shape[1]), 0) @ v[:, h] for h in heads])
