"""The arrays and the cost of what state-space models put behind their convolution: GELU, and a gated linear unit.

It is an option, `glu`, of every convolution mixer, so that they differ in their kernels alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from attention_impls.base import Arrays, Dims
from attention_impls.equation import Equation

DIFFERS = (
    " Dropout before the gated unit is drawn for each position, unless the model ties it. The encoder's output "
    "projection follows the unit, unless the model has none; the authors' block ends there."
)
OUTPUT = Equation(
    "output",
    r"O = (U \, g) \odot \sigma(W \, g), \quad g = \operatorname{GELU}(y)",
    "with biases; $O = g$ without glu",
)
SKIP, WEIGHT, BIAS = "skip", "glu.weight", "glu.bias"


def gated_params(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Weight (C, 2C) and bias (2C) where `options.glu` is on, uniform within ±1/√C: PyTorch's default."""
    if not options.glu:
        return {}
    bound = 1 / math.sqrt(dims.width)
    return {
        WEIGHT: rng.uniform(-bound, bound, (dims.width, 2 * dims.width)),
        BIAS: rng.uniform(-bound, bound, 2 * dims.width),
    }


def gated_operations(options: Any, dims: Dims, length: int) -> int:
    """Multiply-adds of the unit's product."""
    return 2 * dims.width**2 * length if options.glu else 0
