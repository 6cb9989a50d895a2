"""S4D in NumPy, float64, from Gu et al. 2022: the recurrence, one token after another, in complex numbers."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.gated import SKIP
from attention_impls.ops.reference_ops import Tokens, each_sequence, gated
from attention_impls.s4d import B_IMAG, B_REAL, C_IMAG, C_REAL, DECAY, FREQUENCY, STEP, Options


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    params = layer.params
    eigenvalues = -np.exp(params[DECAY]) + 1j * params[FREQUENCY]
    stepped = np.exp(np.exp(params[STEP])[:, None] * eigenvalues)  # eq. (discrete)
    inputs = (stepped - 1) / eigenvalues * (params[B_REAL] + 1j * params[B_IMAG])  # eq. (discrete)
    forward, backward = params[C_REAL] + 1j * params[C_IMAG]

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        y = params[SKIP] * x
        state = np.zeros_like(inputs)
        for i in range(len(x)):
            state = stepped * state + inputs * x[i, :, None]
            y[i] += 2 * (forward * state).sum(1).real  # eq. (kernel), (conv)
        state = np.zeros_like(inputs)
        for i in reversed(range(len(x))):
            y[i] += 2 * (backward * state).sum(1).real  # eq. (kernel), (conv)
            state = stepped * state + inputs * x[i, :, None]
        return gated(y, layer)  # eq. (output)

    return each_sequence(x, layer, mix_one)
