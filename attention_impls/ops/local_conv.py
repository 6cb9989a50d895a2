"""The arrays of the depthwise convolution on V that mechanisms may add to their output (`local_conv`).

Wu et al. 2025 call it L and write it on both sides of their approximation. So every mechanism that ELFATT is compared
with has it as an option.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_impls.base import Arrays, Dims

WEIGHT, BIAS = "local_conv.weight", "local_conv.bias"
TAPS = 3


def local_conv_params(dims: Dims, rng: np.random.Generator, axes: int = 1) -> Arrays:
    """Weight (H, D, 3) along tokens, or (H, D, 3, 3) over a grid, and bias (H, D).

    Uniform within ±1/√fan_in, fan_in = 3 or 9: PyTorch's default for a convolution with one input a group.
    """
    bound = 1 / math.sqrt(TAPS**axes)
    channels = (dims.heads, dims.head_dim)
    return {
        WEIGHT: rng.uniform(-bound, bound, channels + (TAPS,) * axes),
        BIAS: rng.uniform(-bound, bound, channels),
    }


def optional_params(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The arrays where `options.local_conv` is on: the `params` of mechanisms that learn nothing else."""
    return local_conv_params(dims, rng) if options.local_conv else {}
