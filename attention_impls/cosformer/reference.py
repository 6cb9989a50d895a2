"""cosFormer in NumPy, float64, from Qin et al. 2022: the similarity matrix, written out."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.cosformer import EPSILON, Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        place, out = np.arange(len(v)), np.empty(v.shape)
        distance = place[:, None] - place[None, :]
        for h in range(layer.dims.heads):
            similarity = np.maximum(q[:, h], 0) @ np.maximum(k[:, h], 0).T
            similarity = similarity * np.cos(math.pi / 2 * distance / len(v))  # eq. (similarity)
            out[:, h] = similarity @ v[:, h] / np.maximum(similarity.sum(1, keepdims=True), EPSILON)  # eq. (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)
