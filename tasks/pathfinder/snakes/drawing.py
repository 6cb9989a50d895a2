"""The compiled drawing of paths that are already found: paddles, discs, bytes."""

from __future__ import annotations

import numpy as np
from numba import njit

import tasks.compiled  # noqa: F401 - decides where compiled code is kept
from tasks.pathfinder.snakes.tables import DISTRACTOR, TARGET, Tables


@njit(cache=True, nogil=True)
def _draw(t: Tables, image: np.ndarray, path: np.ndarray, row: int) -> None:
    for paddle in range(len(path)):
        here = (path[paddle, 0] + t.frame) * t.stride + path[paddle, 1] + t.frame
        for i in range(t.lit_starts[path[paddle, 2]], t.lit_starts[path[paddle, 2] + 1]):
            pixel = here + t.lit[i, 0]
            image[pixel] = max(image[pixel], t.brightness[row, t.lit[i, 1]])


@njit(cache=True, nogil=True)
def _corner(place: int, size: int, side: int) -> tuple[int, int]:
    """Where a disc's stamp starts on one axis and which of the stamps it is, counted from the near border."""
    start = min(max(place - side // 2, 0), size - side)
    return start, place - start


@njit(cache=True, nogil=True)
def _draw_marker(t: Tables, image: np.ndarray, y: int, x: int) -> None:
    side = t.markers.shape[0]
    top, row = _corner(y, t.size, side)
    left, column = _corner(x, t.size, side)
    for j in range(side):
        for i in range(side):
            pixel = (top + j + t.frame) * t.stride + left + i + t.frame
            image[pixel] = max(image[pixel], t.markers[row, column, j, i] / 255)


@njit(cache=True, nogil=True)
def _to_bytes(t: Tables, image: np.ndarray, out: np.ndarray) -> None:
    """Scales the least value of the window to 0 and the greatest to 255."""
    low, high = np.inf, -np.inf
    for y in range(t.size):
        for x in range(t.size):
            value = image[(y + t.frame) * t.stride + x + t.frame]
            low, high = min(low, value), max(high, value)
    scale = 255.0 / (high - low)
    for y in range(t.size):
        for x in range(t.size):
            value = image[(y + t.frame) * t.stride + x + t.frame]
            out[y, x] = np.uint8((value - low) * scale + 0.5)


@njit(cache=True, nogil=True)
def draw(
    t: Tables, targets: np.ndarray, distractors: np.ndarray, found: np.ndarray, markers: np.ndarray, images: np.ndarray
) -> None:
    """Fills `images` from the paths of `curves.sample`, `found` distractors each, and the discs' places (n, 4)."""
    image = np.empty(t.stride * t.stride)
    for n in range(len(images)):
        for pixel in range(len(image)):
            image[pixel] = 0.0
        for curve in range(2):
            _draw(t, image, targets[n, curve], TARGET)
        for curve in range(found[n]):
            _draw(t, image, distractors[n, curve], DISTRACTOR)
        for disc in range(0, 4, 2):
            _draw_marker(t, image, markers[n, disc], markers[n, disc + 1])
        _to_bytes(t, image, images[n])
