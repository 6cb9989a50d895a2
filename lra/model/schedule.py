"""The learning rate as a plain function of the step: one cycle, linear up and linear down.

It equals torch.optim.lr_scheduler.OneCycleLR(anneal_strategy="linear", cycle_momentum=False) with its default
div_factor 25 and final_div_factor 1e4; the momentum cycle of the old suites is left out on purpose.
"""

from __future__ import annotations

import numpy as np

START_DIVISOR = 25.0
END_DIVISOR = 1e4


def one_cycle(steps: np.ndarray, *, peak: float, warmup: int, total: int) -> np.ndarray:
    """Learning rates (float64) of the given steps, counted from 0, for a cycle of `total` steps."""
    start, top, last = peak / START_DIVISOR, max(warmup - 1, 0), total - 1
    return np.interp(steps, [0, top, last], [start, peak, start / END_DIVISOR])
