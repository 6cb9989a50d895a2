"""Linear attention in NumPy, float64, from Katharopoulos et al. 2020, equations 4 and 7."""

from __future__ import annotations

import numpy as np

from attention_impls.base import Layer
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Tokens, depthwise_conv, each_example


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            similarity = _features(q[:, h]) @ _features(k[:, h]).T
            out[:, h] = similarity @ v[:, h] / (similarity.sum(1, keepdims=True) + EPSILON)  # eq. (output)
        return out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS]) if layer.options.local_conv else out

    return each_example(q, k, v, layer.lengths, attend_one)


def _features(x: np.ndarray) -> np.ndarray:
    """elu(x) + 1."""
    return np.where(x > 0, x + 1, np.exp(np.minimum(x, 0)))  # eq. (features)
