"""The learning rate as a function of the step: one linear cycle, or a linear rise and a cosine fall.

The first equals torch.optim.lr_scheduler.OneCycleLR(anneal_strategy="linear", cycle_momentum=False) with its defaults
div_factor 25 and final_div_factor 1e4. Older suites also cycle the momentum; this one does not, on purpose. The second
is the schedule of S4's configurations: its first step has the rate 0.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lra.core.config import Train

START_DIVISOR = 25.0
END_DIVISOR = 1e4


def one_cycle(steps: np.ndarray, *, peak: float, warmup: int, total: int) -> np.ndarray:
    """Learning rates (float64) of the given steps, counted from 0, for a cycle of `total` steps."""
    start, top, last = peak / START_DIVISOR, max(warmup - 1, 0), total - 1
    return np.interp(steps, [0, top, last], [start, peak, start / END_DIVISOR])


def cosine(steps: np.ndarray, *, peak: float, warmup: int, total: int) -> np.ndarray:
    """Learning rates of a linear rise from 0 to `peak` at step `warmup`, then half a cosine to 0 at step `total`."""
    falls = np.clip((steps - warmup) / max(total - warmup, 1), 0, 1)
    return peak * np.where(steps < warmup, steps / max(warmup, 1), (1 + np.cos(np.pi * falls)) / 2)


def schedule(train: Train) -> Callable[[np.ndarray], np.ndarray]:
    """The learning rates of the given steps, by the training's schedule."""
    kind = {"one_cycle": one_cycle, "cosine": cosine}[train.schedule]
    total = train.cycle or train.steps
    return lambda steps: kind(steps, peak=train.learning_rate, warmup=train.warmup, total=total)
