"""Whole images: a pair of curves, distractors, two discs, bytes.

Image i of a split depends on the settings, the seed, the split's name and i alone, so any number of processes may make
any part of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit

from tasks.base import SPLITS, TaskError
from tasks.snakes.curves import COLUMNS, grow_distractor, grow_pair
from tasks.snakes.rng import below, image_states
from tasks.snakes.settings import Settings
from tasks.snakes.stamps import DISTRACTOR, INSIDE, PADDLE, TARGET, Tables, tables

# An image that needs more attempts than this is impossible: 64×64 hard, the hardest set, needs 4,500 on average.
MAX_RESTARTS = 2_000_000


@dataclass(frozen=True, kw_only=True)
class Images:
    """Images of one split in order, and what the generator knows about them."""

    images: np.ndarray  # (n, size, size) uint8
    labels: np.ndarray  # (n,) uint8, 1 where one curve joins both discs
    markers: np.ndarray  # (n, 4) int16: y and x of the disc at a tail, then of the disc at a head
    restarts: np.ndarray  # (n,) int64: pairs of curves thrown away
    distractors: np.ndarray  # (n,) int64: distractors placed


@njit(cache=True, nogil=True)
def _draw(t: Tables, image: np.ndarray, path: np.ndarray, brightness: int) -> None:
    for row in path:
        here = (row[0] + t.frame) * t.stride + row[1] + t.frame
        for i in range(t.starts[PADDLE, row[2]], t.starts[PADDLE, row[2] + 1]):
            pixel = here + t.pixels[i, 0]
            image[pixel] = max(image[pixel], t.bytes[brightness, t.pixels[i, 1]])


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
    for pixel in range(len(image)):
        if t.window[INSIDE, pixel]:
            low, high = min(low, image[pixel]), max(high, image[pixel])
    scale = 255.0 / (high - low)
    for y in range(t.size):
        for x in range(t.size):
            value = image[(y + t.frame) * t.stride + x + t.frame]
            out[y, x] = np.uint8((value - low) * scale + 0.5)


@njit(cache=True, nogil=True)
def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """How far two paddles' pixels are apart, in whole pixels."""
    return np.rint(math.hypot(one[0] - other[0], one[1] - other[1]))


@njit(cache=True, nogil=True)
def _same_distance(paths: np.ndarray, origin: int) -> bool:
    """Whether both ends are equally far from the tail of curve `origin`."""
    last = paths.shape[1] - 1
    return _distance(paths[origin, 0], paths[0, last]) == _distance(paths[origin, 0], paths[1, last])


@njit(cache=True, nogil=True)
def _sample(
    t: Tables, states: np.ndarray, contour: int, distractor: int, requested: int, paddle_retrials: int,
    distractor_retrials: int, balance: bool, repair: bool, prompt: bool, patience: int,
    images: np.ndarray, labels: np.ndarray, markers: np.ndarray, restarts: np.ndarray, distractors: np.ndarray,
) -> bool:  # fmt: skip
    """Fills the last five arrays, one row a state; False where an image turned out to be impossible."""
    cells = t.stride * t.stride
    mask, kept, image = np.empty(cells, np.uint8), np.empty(cells, np.uint8), np.empty(cells)
    paths = np.empty((2, contour, COLUMNS), np.int64)
    path = np.empty((distractor, COLUMNS), np.int64)
    total = np.empty(len(t.candidates))
    places = np.empty(t.size * t.size, np.int64)
    history = np.empty((contour if repair else 0, cells), np.uint8)
    for index in range(len(states)):
        state = states[index]
        origin = 0
        while True:
            if grow_pair(t, state, mask, paths, total, history, paddle_retrials, prompt):
                origin = below(state, 2)
                if not balance or _same_distance(paths, origin):
                    break
            restarts[index] += 1
            if restarts[index] > patience:
                return False
        for pixel in range(cells):
            image[pixel] = 0.0
        for curve in range(2):
            _draw(t, image, paths[curve], TARGET)
        for _ in range(requested):
            for _ in range(distractor_retrials + 1):
                if grow_distractor(t, state, mask, path, total, places, kept, paddle_retrials, prompt):
                    _draw(t, image, path, DISTRACTOR)
                    distractors[index] += 1
                    break
        labels[index] = below(state, 2)
        terminal = origin if labels[index] == 1 else 1 - origin
        for axis in range(2):
            markers[index, axis] = paths[origin, 0, axis]
            markers[index, 2 + axis] = paths[terminal, contour - 1, axis]
        _draw_marker(t, image, markers[index, 0], markers[index, 1])
        _draw_marker(t, image, markers[index, 2], markers[index, 3])
        _to_bytes(t, image, images[index])
    return True


def generate(
    settings: Settings, seed: int, split: str, first: int, count: int, *, patience: int = MAX_RESTARTS
) -> Images:
    """Images first .. first + count - 1 of a split; TaskError where one needs more than `patience` restarts."""
    if split not in SPLITS:
        raise TaskError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}")
    states = image_states(seed, SPLITS.index(split), first, count)
    size = settings.size
    made = Images(
        images=np.zeros((count, size, size), np.uint8),
        labels=np.zeros(count, np.uint8),
        markers=np.zeros((count, 4), np.int16),
        restarts=np.zeros(count, np.int64),
        distractors=np.zeros(count, np.int64),
    )
    arrays = (made.images, made.labels, made.markers, made.restarts, made.distractors)
    which = states[:, 4] % np.uint64(len(settings.margins))
    for number, margin in enumerate(settings.margins):
        rows = np.flatnonzero(which == number)
        part = [array[rows] for array in arrays]
        possible = _sample(
            tables(settings, margin), states[rows, :4], settings.contour_length, settings.distractor_length,
            settings.distractors, settings.paddle_retrials, settings.distractor_retrials,
            settings.balance_distance, settings.repair, settings.prompt_masks, patience, *part,
        )  # fmt: skip
        if not possible:
            raise TaskError(
                f"No two curves of {settings.contour_length} paddles found for {size}×{size} in {patience:,} "
                "attempts; ask for shorter ones"
            )
        for array, values in zip(arrays, part, strict=True):
            array[rows] = values
    return made
