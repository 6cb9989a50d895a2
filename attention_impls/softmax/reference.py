"""Softmax attention in NumPy, float64, from Vaswani et al. 2017, equation 1."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Tokens, depthwise_conv, each_example, softmax
from attention_impls.softmax import Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            out[:, h] = softmax(q[:, h] @ k[:, h].T / math.sqrt(layer.dims.head_dim), 1) @ v[:, h]  # eq. (output)
        return out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS]) if layer.options.local_conv else out

    return each_example(q, k, v, layer.lengths, attend_one)
