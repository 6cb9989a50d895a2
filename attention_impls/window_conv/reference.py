"""Window convolution in NumPy, float64: one tap after another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Tokens, each_sequence, gated
from attention_impls.ops.token_conv import FILTER
from attention_impls.window_conv import BIAS, Options


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    weight, half = layer.params[FILTER], layer.options.conv_kernel // 2

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        y = np.broadcast_to(layer.params[BIAS], x.shape).copy()
        for i in range(len(x)):
            for j in range(max(0, i - half), min(len(x), i + half + 1)):
                y[i] += weight[:, j - i + half] * x[j]  # eq. (conv)
        return gated(y, layer)  # eq. (output)

    return each_sequence(x, layer, mix_one)
