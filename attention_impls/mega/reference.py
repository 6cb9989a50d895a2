"""Mega in NumPy, float64, from Ma et al. 2022: the moving average as a recurrence, chunk after chunk of attention."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from scipy.special import erf

from attention_impls.base import Layer
from attention_impls.mega import (
    ALPHA,
    BASE,
    BETA,
    DELTA,
    GAMMA,
    GATED,
    MEAN,
    OFFSET,
    OMEGA,
    POSITIONS,
    SCALE,
    SPREAD,
    VALUE,
    Options,
    hidden,
)
from attention_impls.ops.reference_ops import Tokens, each_sequence, sigmoid, silu, softmax

Sequence = Float[np.ndarray, "n C"]


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    width, options = layer.dims.width, layer.options
    ends = np.cumsum([width, options.shared, hidden(options, layer.dims)])
    both = x if layer.residual is None else np.concatenate([x, layer.residual], 2)

    def mix_one(both: Float[np.ndarray, "n channels"]) -> Sequence:
        x, stream = both[:, :width], both[:, -width:]
        moved = silu(_average(x, layer) + layer.params[OMEGA] * x)  # eq. (moved)
        update, shared, reset, candidate = np.split(_dense(moved, BASE, layer), ends, 1)
        value, shared, reset = silu(_dense(x, VALUE, layer)), silu(shared), silu(reset)  # eq. (base)
        query, key = (
            shared * scale + offset
            for scale, offset in zip(layer.params[SCALE], layer.params[OFFSET], strict=True)  # eq. (base)
        )
        size = options.chunk or len(x)
        chunks = [slice(first, first + size) for first in range(0, len(x), size)]
        seen = np.concatenate([_weights(query[chunk], key[chunk], layer) @ value[chunk] for chunk in chunks])
        found = silu(candidate + _dense(seen * reset, GATED, layer))  # eq. (output)
        return sigmoid(update) * (found - stream)  # eq. (output)

    # The stream travels beside x, so that both are cut to the real tokens.
    return each_sequence(both, layer, mix_one)


def _average(x: Sequence, layer: Layer[Options]) -> Sequence:
    """Both directions, one token after another; what a finite average forgets is a state of so many tokens ago."""
    params, lags = layer.params, layer.options.lags or len(x)
    share = sigmoid(params[DELTA])
    kept, entering = 1 - share * sigmoid(params[ALPHA]), share * params[BETA]  # eq. (average)
    out = np.zeros(x.shape)
    for direction, order in enumerate((range(len(x)), range(len(x) - 1, -1, -1))):
        weight = params[GAMMA][direction] / math.sqrt(layer.options.order)
        states = [np.zeros(weight.shape)] * lags  # of the tokens before the first
        for i in order:
            states.append(kept[direction] * states[-1] + entering[direction] * x[i, :, None])
            forgotten = kept[direction] ** lags * states[-1 - lags]
            out[i] += (weight * (states[-1] - forgotten)).sum(1)  # eq. (average)
    return out


def _weights(query: np.ndarray, key: np.ndarray, layer: Layer[Options]) -> np.ndarray:
    count = len(key)
    middle = len(layer.params[POSITIONS]) // 2
    ahead = np.arange(count) - np.arange(count)[:, None]
    bias = layer.params[POSITIONS][middle + ahead]
    if layer.options.weights == "softmax":
        return softmax(query @ key.T / math.sqrt(layer.options.shared) + bias, 1)  # eq. (attention)
    return (1 + erf((query @ key.T / count + bias - MEAN) / (SPREAD * math.sqrt(2)))) / 2  # eq. (attention)


def _dense(x: np.ndarray, name: str, layer: Layer[Options]) -> np.ndarray:
    return x @ layer.params[f"{name}.weight"] + layer.params[f"{name}.bias"]
