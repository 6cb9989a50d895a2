"""Efficient attention in NumPy, float64, from Shen et al. 2021."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Layer
from attention_impls.efficient import Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Tokens, depthwise_conv, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            out[:, h] = softmax(q[:, h], 1) @ (softmax(k[:, h], 0).T @ v[:, h])  # eq. (output)
        return out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS]) if layer.options.local_conv else out

    return each_example(q, k, v, layer.lengths, attend_one)
