"""SGConv in NumPy, float64, from Li et al. 2023, section 4: the kernel piece by piece, and the sums, written out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.gated import SKIP
from attention_impls.ops.reference_ops import Tokens, each_sequence, gated, two_sided_sum
from attention_impls.sgconv import KERNEL, Options, sizes


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    after, before = _kernels(layer)

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        y = two_sided_sum(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
        return gated(y, layer)  # eq. (output)

    return each_sequence(x, layer, mix_one)


def _kernels(layer: Layer[Options]) -> Float[np.ndarray, "2 C lags"]:
    """The pieces have taps · (1, 1, 2, 4, …) lags; a lag lies between the middles of two taps."""
    taps, pieces = layer.options.taps, sizes(layer.options, layer.dims)
    kernels = np.empty((2, layer.dims.width, taps * 2 ** (len(pieces) - 1)))
    for row in np.ndindex(kernels.shape[:2]):
        begin = 0
        for number, size in enumerate(pieces):
            lags = taps * 2 ** max(0, number - 1)
            middles = (np.arange(taps) + 0.5) * lags / taps
            learned = layer.params[f"{KERNEL}.{number}"][row]
            kernels[row][begin : begin + lags] = size * np.interp(np.arange(lags) + 0.5, middles, learned)
            begin += lags  # eq. (kernel)
    return kernels
