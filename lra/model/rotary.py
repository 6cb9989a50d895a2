"""Rotary positions: queries and keys are rotated by their position, so their product depends on the distance alone.

Su et al. 2021 (RoFormer, arXiv 2104.09864): channels i and i + D/2 of a head of size D are a point in the plane. Each
position turns it by 10000^(−2i/D). The angles are defined here once; both frameworks multiply by these numbers.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

BASE = 10_000.0


def turns(positions: int, head_dim: int) -> tuple[Float64[np.ndarray, "N d"], Float64[np.ndarray, "N d"]]:
    """Cosine and sine of each position's angles, d = head_dim / 2."""
    rates = BASE ** (-np.arange(0, head_dim, 2) / head_dim)
    angles = np.arange(positions)[:, None] * rates
    return np.cos(angles), np.sin(angles)
