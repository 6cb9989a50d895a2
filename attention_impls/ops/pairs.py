"""Complex numbers as pairs of real arrays, the real part first, in either framework."""

from __future__ import annotations

from typing import TypeVar

Part = TypeVar("Part")
Pair = tuple[Part, Part]


def times(left: Pair, right: Pair) -> Pair:
    """The product of complex numbers."""
    return left[0] * right[0] - left[1] * right[1], left[0] * right[1] + left[1] * right[0]
