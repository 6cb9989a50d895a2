"""Efficient attention in NumPy, float64, from Shen et al. 2021."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Arrays, Dims
from attention_impls.efficient import Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Lengths, Tokens, depthwise_conv, each_example, softmax


def attend(
    q: Tokens,
    k: Tokens,
    v: Tokens,
    *,
    lengths: Lengths | None,
    params: Arrays,
    constants: Arrays,
    options: Options,
    dims: Dims,
) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(dims.heads):
            out[:, h] = softmax(q[:, h], 1) @ (softmax(k[:, h], 0).T @ v[:, h])
        return out + depthwise_conv(v, params[WEIGHT], params[BIAS]) if options.local_conv else out

    return each_example(q, k, v, lengths, attend_one)
