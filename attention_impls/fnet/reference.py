"""FNet in NumPy, float64, from Lee-Thorp et al. 2022, equation 3: two matrices of cosines and sines, written out."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.fnet import Options
from attention_impls.ops.reference_ops import Tokens, each_sequence


def attend(x: Float[np.ndarray, "B N C"], layer: Layer[Options]) -> Tokens:
    def mix_one(x: Float[np.ndarray, "n C"]) -> Float[np.ndarray, "n C"]:
        (cos_n, sin_n), (cos_c, sin_c) = (_waves(size) for size in x.shape)
        return cos_n @ x @ cos_c - sin_n @ x @ sin_c  # eq. (output)

    return each_sequence(x, layer, mix_one)


def _waves(size: int) -> tuple[np.ndarray, np.ndarray]:
    """cos and sin of 2πjk / size; jk is reduced first."""
    turns = np.outer(np.arange(size), np.arange(size)) % size / size
    return np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns)
