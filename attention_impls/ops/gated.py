"""The arrays and the cost of what state-space models put behind their convolution: GELU, and a gated linear unit.

It is an option, `glu`, of every convolution mixer, so that they differ in their kernels alone. Where it is no switch it
says which unit: "full", that of the others, or one whose gates act on g (half1) or on y (half2) themselves.
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


def unit(options: Any) -> str:
    """Which unit the option `glu` says: none, full, half1 or half2."""
    if isinstance(options.glu, bool):
        return "full" if options.glu else "none"
    return options.glu


def _outputs(options: Any, dims: Dims) -> int:
    """Numbers that the unit's product has for each token."""
    return {"none": 0, "full": 2}.get(unit(options), 1) * dims.width


def gated_params(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Weight (C, 2C or C) and bias (2C or C) where `options.glu` is on, uniform within ±1/√C: PyTorch's default."""
    outputs, bound = _outputs(options, dims), 1 / math.sqrt(dims.width)
    if not outputs:
        return {}
    return {
        WEIGHT: rng.uniform(-bound, bound, (dims.width, outputs)),
        BIAS: rng.uniform(-bound, bound, outputs),
    }


def gated_operations(options: Any, dims: Dims, length: int) -> int:
    """Multiply-adds of the unit's product."""
    return dims.width * _outputs(options, dims) * length
