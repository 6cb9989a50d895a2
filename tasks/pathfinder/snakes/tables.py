"""What `stamps` prepares for the compiled `curves` and `drawing`: arrays, and the names of their rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

SEED_DIRECTIONS = 360
# The kinds of lists in `Tables.starts`: the mask; the mask already there from which on the paddle is refused; the full
# part of a first paddle's mask, for the search of free places (empty where that search never succeeds).
MASK, LIMIT, CORE = range(3)
# The rows of `Tables.window`: the mask before the first paddle, 1 inside the window, 1 on the window's edge.
BLANK, INSIDE, EDGE = range(3)
# The rows of `Tables.seed_step`: from a tail to its head, from there to the pivot behind the tail, to the second tail.
TO_HEAD, TO_PIVOT, TO_SECOND = range(3)
# The rows of `Tables.brightness`.
TARGET, DISTRACTOR = range(2)


class Tables(NamedTuple):
    """The tables for one margin. Directions 0..359 are first paddles, -180..179 degrees; 360 + c is candidate c.

    Few arrays, because compiled code pays for each of them: the numbers above name the rows of the larger ones.
    """

    size: int
    frame: int
    stride: int
    starts: np.ndarray  # (3, directions + 1): list d of a kind is pixels[starts[kind, d]:starts[kind, d + 1]]
    pixels: np.ndarray  # (n, 2) int64: flat offset from the pixel the paddle starts from, byte
    pivot_step: np.ndarray  # (directions, 2) float64: from one pivot to the next
    seed_step: np.ndarray  # (3, 360, 2) float64
    seed_area: np.ndarray  # (360, 4) y0, y1, x0, x1: where the first curve may start, ends excluded
    candidates: np.ndarray  # (c, 2) int64: the next head, relative to the pivot
    choices: np.ndarray  # (directions, c) candidates with a positive weight, -1 after the last
    weights: np.ndarray  # (directions, c) their continuity weights
    disc: np.ndarray  # flat offsets of the small disc that widens the mask
    free: np.ndarray  # (256,) float64: one minus a mask
    window: np.ndarray  # (3, pixels of the framed window) uint8
    lit_starts: np.ndarray  # (directions + 1): a paddle's brightness is lit[lit_starts[d]:lit_starts[d + 1]]
    lit: np.ndarray  # (n, 2) int64: flat offset, byte
    brightness: np.ndarray  # (2, 256) float64
    markers: np.ndarray  # (classes, classes, side, side) uint8: discs by their distance from the borders
