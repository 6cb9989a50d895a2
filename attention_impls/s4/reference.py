"""S4 in NumPy, float64, from Gu et al. 2022: the recurrence with dense complex matrices, one token after another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Complex, Float

from attention_impls.base import Layer
from attention_impls.ops.gated import SKIP
from attention_impls.ops.reference_ops import Tokens, each_sequence, gated
from attention_impls.s4 import (
    B_IMAG,
    B_REAL,
    C_IMAG,
    C_REAL,
    DECAY,
    FREQUENCY,
    P_IMAG,
    P_REAL,
    STEP,
    Options,
    period,
)


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    params, channels = layer.params, layer.dims.width
    poles = _paired(-np.exp(params[DECAY]) + 1j * params[FREQUENCY], channels)
    p = _paired(params[P_REAL] + 1j * params[P_IMAG], channels)
    b = _paired(params[B_REAL] + 1j * params[B_IMAG], channels)
    step, one = np.log1p(np.exp(params[STEP]))[:, None, None], np.eye(poles.shape[1])
    matrix = step * (poles[:, None] * one - p[:, :, None] * p[:, None].conj())
    stepped = np.linalg.solve(one - matrix / 2, one + matrix / 2)  # eq. (discrete)
    inputs = np.linalg.solve(one - matrix / 2, step * b[:, :, None])[..., 0]  # eq. (discrete)
    learned = _paired(params[C_REAL] + 1j * params[C_IMAG], channels)
    rest = one - np.linalg.matrix_power(stepped, period(layer.dims))
    forward, backward = np.linalg.solve(rest.mT, learned[..., None])[..., 0]  # eq. (generating)

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        y = params[SKIP] * x
        state = np.zeros_like(inputs)
        for i in range(len(x)):
            state = (stepped @ state[..., None])[..., 0] + inputs * x[i, :, None]
            y[i] += (forward * state).sum(1).real  # eq. (kernel), (conv)
        state = np.zeros_like(inputs)
        for i in reversed(range(len(x))):
            y[i] += (backward * state).sum(1).real  # eq. (kernel), (conv)
            state = (stepped @ state[..., None])[..., 0] + inputs * x[i, :, None]
        return gated(y, layer)  # eq. (output)

    return each_sequence(x, layer, mix_one)


def _paired(half: Complex[np.ndarray, "*directions systems n"], channels: int) -> np.ndarray:
    """Each channel's numbers and their conjugates, (*directions, channels, 2n)."""
    each = np.concatenate([half, half.conj()], -1)
    return np.take(each, np.arange(channels) % half.shape[-2], -2)
