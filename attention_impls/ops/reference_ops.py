"""Shared pieces of the NumPy references: one example or one head at a time, in float64, no padding anywhere."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from scipy.special import erf

from attention_impls.base import Layer
from attention_impls.ops.gated import BIAS, WEIGHT

Tokens = Float[np.ndarray, "B N H D"]
Lengths = Int[np.ndarray, " B"]
Example = Float[np.ndarray, "n H D"]


def each_example(
    q: Tokens, k: Tokens, v: Tokens, lengths: Lengths | None, attend_one: Callable[[Example, Example, Example], Example]
) -> Tokens:
    """Apply `attend_one` to the real tokens of each example; zeros elsewhere."""
    out = np.zeros(v.shape)
    for i in range(len(q)):
        n = q.shape[1] if lengths is None else int(lengths[i])
        if n > 0:
            out[i, :n] = attend_one(*(x[i, :n].astype(np.float64) for x in (q, k, v)))
    return out


def each_sequence(
    x: Float[np.ndarray, "B N channels"], layer: Layer[Any], mix_one: Callable[[np.ndarray], np.ndarray]
) -> Tokens:
    """Apply `mix_one` to the real tokens of each example, (n, channels) -> (n, C); zeros elsewhere. C as heads."""
    dims, out = layer.dims, np.zeros((*x.shape[:2], layer.dims.width))
    for i in range(len(x)):
        n = x.shape[1] if layer.lengths is None else int(layer.lengths[i])
        if n > 0:
            out[i, :n] = mix_one(x[i, :n].astype(np.float64))
    return out.reshape(*x.shape[:2], dims.heads, dims.head_dim)


def two_sided_sum(
    x: Float[np.ndarray, "n C"], after: Float[np.ndarray, "C lags"], before: Float[np.ndarray, "C lags"]
) -> Float[np.ndarray, "n C"]:
    """Σ_{j ≤ i} after[i − j] x_j + Σ_{j > i} before[j − i − 1] x_j for each token i, without a transform."""
    out = np.empty(x.shape)
    for i in range(len(x)):
        out[i] = (after[:, : i + 1][:, ::-1].T * x[: i + 1]).sum(0)
        out[i] += (before[:, : len(x) - i - 1].T * x[i + 1 :]).sum(0)
    return out


def gated(y: Float[np.ndarray, "n C"], layer: Layer[Any]) -> Float[np.ndarray, "n C"]:
    """g = y Φ(y), and where `options.glu` is on a gated linear unit of it: half of the outputs times σ of the others.

    Half a unit multiplies g, or y, with σ of all outputs.
    """
    g = y * (1 + erf(y / math.sqrt(2))) / 2
    if layer.options.glu in (False, "none"):
        return g
    mixed = g @ layer.params[WEIGHT] + layer.params[BIAS]
    if layer.options.glu in ("half1", "half2"):
        values, gates = (g if layer.options.glu == "half1" else y), mixed
    else:
        values, gates = np.split(mixed, 2, axis=1)
    return values / (1 + np.exp(-gates))


def softmax(x: Float[np.ndarray, "*shape"], axis: int) -> Float[np.ndarray, "*shape"]:
    """exp(x) over its sum along `axis`."""
    grown = np.exp(x - x.max(axis, keepdims=True))
    return grown / grown.sum(axis, keepdims=True)


def depthwise_conv(
    v: Float[np.ndarray, "*space H D"], weight: Float[np.ndarray, "H D *taps"], bias: Float[np.ndarray, "H D"]
) -> Float[np.ndarray, "*space H D"]:
    """bias + Σ_s weight[s] · v[i + s − 1] along every axis of `space`, where i + s − 1 is inside."""
    space = v.shape[:-2]
    out = np.broadcast_to(bias, v.shape).copy()
    for here in np.ndindex(*space):
        for shift in itertools.product(range(3), repeat=len(space)):
            there = tuple(i + s - 1 for i, s in zip(here, shift, strict=True))
            if all(0 <= i < size for i, size in zip(there, space, strict=True)):
                out[here] += weight[:, :, *shift] * v[there]
    return out


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^−x)."""
    return 1 / (1 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    """x σ(x)."""
    return x * sigmoid(x)
