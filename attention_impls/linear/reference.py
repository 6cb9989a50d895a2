"""Linear attention in NumPy, float64, from Katharopoulos et al. 2020, equations 4 and 7."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Arrays, Dims
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Lengths, Tokens, depthwise_conv, each_example


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
            similarity = _features(q[:, h]) @ _features(k[:, h]).T
            out[:, h] = similarity @ v[:, h] / (similarity.sum(1, keepdims=True) + EPSILON)
        return out + depthwise_conv(v, params[WEIGHT], params[BIAS]) if options.local_conv else out

    return each_example(q, k, v, lengths, attend_one)


def _features(x: np.ndarray) -> np.ndarray:
    """elu(x) + 1."""
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))
