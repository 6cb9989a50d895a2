"""Luna in NumPy, float64, from Ma et al. 2021, equations 4 to 8: one example and one head at a time."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.luna import ASK, ASK_BIAS, EPSILON, SCALE, SHIFT, START, TELL, TELL_BIAS, Options
from attention_impls.ops.reference_ops import Tokens, softmax

Packed = Float[np.ndarray, "B l C"]
Rows = Float[np.ndarray, "n C"]


def attend(q: Tokens, k: Tokens, layer: Layer[Options]) -> tuple[Tokens, Packed]:
    params, out = layer.params, np.zeros(q.shape)
    before = layer.carry
    if before is None:
        before = np.stack([np.sqrt(layer.dims.width) * params[START]] * len(q))  # eq. (start)
    after = before.copy()
    for i in range(len(q)):
        n = q.shape[1] if layer.lengths is None else int(layer.lengths[i])
        if n == 0:
            continue
        ask = _normed(before[i], layer) @ params[ASK] + params[ASK_BIAS]
        packed = _by_heads(ask, k[i, :n].reshape(n, -1), layer)  # eq. (pack)
        told = packed @ params[TELL] + params[TELL_BIAS]
        out[i, :n] = _by_heads(q[i, :n].reshape(n, -1), told, layer).reshape(n, *q.shape[2:])  # eq. (unpack)
        after[i] += packed  # eq. (carry)
    return out, after


def _by_heads(q: Rows, k: Float[np.ndarray, "m C"], layer: Layer[Options]) -> Rows:
    """softmax(q kᵀ / √D) k in each head."""
    size = layer.dims.head_dim
    heads = [slice(head * size, (head + 1) * size) for head in range(layer.dims.heads)]
    scores = (q[:, head] @ k[:, head].T / np.sqrt(size) for head in heads)
    return np.concatenate([softmax(each, 1) @ k[:, head] for each, head in zip(scores, heads, strict=True)], 1)


def _normed(p: Rows, layer: Layer[Options]) -> Rows:
    """Each row with mean 0 and variance 1, scaled and shifted."""
    centred = p - p.mean(1, keepdims=True)
    size = np.sqrt((centred**2).mean(1, keepdims=True) + EPSILON)
    return centred / size * layer.params[SCALE] + layer.params[SHIFT]
