"""The arrays and the cost of the last part of state-space models: GELU, and a gated linear unit.

Every convolution mixer has the unit as its option `glu`, so that they differ in their kernels alone. In S5 the option
names the unit: "full" is that of the others; in half1 the gates act on g itself, in half2 on y.
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
