"""Long convolution in NumPy, float64, from Fu et al. 2023, section 3: the sums, written out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.longconv import KERNEL, Options
from attention_impls.ops.gated import SKIP
from attention_impls.ops.reference_ops import Tokens, each_sequence, gated, two_sided_sum


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    kernel = layer.params[KERNEL]
    after, before = np.sign(kernel) * np.maximum(np.abs(kernel) - layer.options.threshold, 0)  # eq. (squash)

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        y = two_sided_sum(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
        return gated(y, layer)  # eq. (output)

    return each_sequence(x, layer, mix_one)
