"""Mamba in NumPy, float64, from Gu and Dao 2023, algorithm 2 and section 3.4: one token after another."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.mamba import (
    CONV,
    CONV_BIAS,
    DECAY,
    IN,
    OUT,
    SELECT,
    SKIP,
    STEP,
    STEP_BIAS,
    Options,
)
from attention_impls.ops.reference_ops import Tokens, each_sequence, silu

WAYS = (CONV, CONV_BIAS, SELECT, STEP, STEP_BIAS, DECAY, SKIP)
"""The arrays of which each direction has its own."""


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    params = layer.params

    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        u, z = np.split(x @ params[IN], 2, axis=1)  # eq. (input)
        y = _one_way(u, layer, 0)
        if layer.options.bidirectional:
            y = y + _one_way(u[::-1], layer, 1)[::-1]
        return (y * silu(z)) @ params[OUT]  # eq. (output)

    return each_sequence(x, layer, mix_one)


def _one_way(u: Float[np.ndarray, "n E"], layer: Layer[Options], way: int) -> Float[np.ndarray, "n E"]:
    """From the first row on, with the arrays of one direction."""
    params, states = {name: layer.params[name][way] for name in WAYS}, layer.options.state
    state, y = np.zeros_like(params[DECAY]), np.empty(u.shape)
    for i in range(len(u)):
        taps = params[CONV][:, ::-1].T[: i + 1]
        v = silu(params[CONV_BIAS] + (taps * u[i::-1][: len(taps)]).sum(0))  # eq. (conv)
        low, b, c = np.split(v @ params[SELECT], [-2 * states, -states])  # eq. (select)
        step = np.logaddexp(0, low @ params[STEP] + params[STEP_BIAS])  # eq. (select)
        decay = np.exp(-step[:, None] * np.exp(params[DECAY]))
        state = decay * state + np.outer(step * v, b)  # eq. (state)
        y[i] = state @ c + params[SKIP] * v  # eq. (read)
    return y
