"""The LRU in NumPy, float64, from Orvieto et al. 2023: the recurrence, one token after another, in complex numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.lru import DECAY, GAIN, PHASE, Options
from attention_impls.ops.diagonal import B_IMAG, B_REAL, C_IMAG, C_REAL
from attention_impls.ops.gated import SKIP
from attention_impls.ops.reference_ops import Tokens, each_sequence, gated


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    params = layer.params
    eigenvalues = np.exp(-np.exp(params[DECAY]) + 1j * np.exp(params[PHASE]))  # eq. (decay)
    inputs = np.exp(params[GAIN])[:, None] * (params[B_REAL] + 1j * params[B_IMAG])

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        y = params[SKIP] * x
        orders = range(len(x)), reversed(range(len(x)))
        for order, outputs in zip(orders, params[C_REAL] + 1j * params[C_IMAG], strict=False):
            state = np.zeros_like(eigenvalues)
            for i in order:
                state = eigenvalues * state + inputs @ x[i]  # eq. (state)
                y[i] += (outputs @ state).real  # eq. (read)
        return gated(y, layer)  # eq. (output)

    return each_sequence(x, layer, mix_one)
