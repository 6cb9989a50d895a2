"""The sizes, arrays and costs of one diagonal recurrence for a whole layer: all channels drive all states.

    h⁺_i = λ h⁺_{i−1} + B x_i        h⁻_i = λ h⁻_{i+1} + B x_i        y_i = Re(C⁺ h⁺_i + C⁻ h⁻_i)

λ (S), B (S, C) and C (C, S) are complex and each is two real arrays, since Adam scales each part by itself. The
directions share all but C, and a token's own input is in both.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from attention_impls.base import Dims
from attention_impls.ops.scan import scan_operations

B_REAL, B_IMAG, C_REAL, C_IMAG = "b.real", "b.imag", "c.real", "c.imag"


def directions(options: Any) -> int:
    """2 where the option `bidirectional` is on, else 1."""
    return 1 + options.bidirectional


def diagonal_operations(states: int, options: Any, dims: Dims, length: int) -> int:
    """Multiply-adds of the products with B and C, whose parts are real."""
    return 2 * states * dims.width * length * (1 + directions(options))


def diagonal_scans(states: int, options: Any, length: int) -> int:
    """Multiply-adds of the recurrences."""
    return directions(options) * scan_operations(states, length, of_complex=True)


def in_parts(b: np.ndarray, c: np.ndarray) -> dict[str, np.ndarray]:
    """The real and imaginary parts of B and C, by their names."""
    return {B_REAL: np.real(b), B_IMAG: np.imag(b), C_REAL: np.real(c), C_IMAG: np.imag(c)}
