"""The compiled core of the generator: first paddles, further paddles, pairs of curves, distractors.

The rules are those of the original. A curve's newest paddle enters the mask only when the next one is found. If any
part of a pair fails, the whole pair is discarded. The second curve's first paddle is not tested against the first
curve. A path has one row for each paddle: (y, x) of its pixel, its direction, and (y, x) of the pivot before it.
Random numbers come from xoshiro256++ (Blackman and Vigna), with a state of four 64-bit words for each image.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

import tasks.compiled  # noqa: F401 - decides where compiled code is kept
from tasks.pathfinder.snakes.tables import (
    BLANK,
    CORE,
    EDGE,
    INSIDE,
    LIMIT,
    MASK,
    SEED_DIRECTIONS,
    TO_HEAD,
    TO_PIVOT,
    TO_SECOND,
    Tables,
)

COLUMNS = 5
# A pixel is free for a first paddle while its mask is at most 0.3, that is 76 in bytes.
FREE_MASK = 76


@njit(cache=True, nogil=True, inline="always")
def _rotated(word: np.uint64, left: int) -> np.uint64:
    return (word << np.uint64(left)) | (word >> np.uint64(64 - left))


@njit(cache=True, nogil=True)
def uniform(state: np.ndarray) -> float:
    """The next number in [0, 1), a multiple of 2⁻⁵³."""
    result = _rotated(state[0] + state[3], 23) + state[0]
    shifted = state[1] << np.uint64(17)
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= shifted
    state[3] = _rotated(state[3], 45)
    return (result >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def below(state: np.ndarray, high: int) -> int:
    """A whole number in [0, high)."""
    return int(uniform(state) * high)


@njit(cache=True, nogil=True)
def moved(y: int, x: int, step: np.ndarray) -> tuple[int, int]:
    """The ceiling of a position plus a step."""
    return math.ceil(y + step[0]), math.ceil(x + step[1])


@njit(cache=True, nogil=True)
def copy(source: np.ndarray, target: np.ndarray) -> None:
    """target[:] = source, which compiles much longer."""
    for i in range(len(target)):
        target[i] = source[i]


@njit(cache=True, nogil=True)
def _within(size: int, y: int, x: int) -> bool:
    return 0 <= y < size and 0 <= x < size


@njit(cache=True, nogil=True)
def _place_seed(t: Tables, y: int, x: int, direction: int, row: np.ndarray) -> bool:
    """Writes a first paddle with its tail at (y, x); False where its head or the pivot behind it leaves the window."""
    head_y, head_x = moved(y, x, t.seed_step[TO_HEAD, direction])
    pivot_y, pivot_x = moved(head_y, head_x, t.seed_step[TO_PIVOT, direction])
    row[0], row[1], row[2], row[3], row[4] = y, x, direction, pivot_y, pivot_x
    return _within(t.size, head_y, head_x) and _within(t.size, pivot_y, pivot_x)


@njit(cache=True, nogil=True)
def _seed_pair(t: Tables, state: np.ndarray, retrials: int, first: np.ndarray, second: np.ndarray) -> bool:
    """The first paddles of both curves: one in the central area, one at a fixed distance from it."""
    for attempt in range(retrials + 2):
        if attempt > retrials:
            return False
        direction = below(state, SEED_DIRECTIONS)
        y0, y1, x0, x1 = t.seed_area[direction]
        if y1 <= y0 or x1 <= x0:
            return False
        place = below(state, (y1 - y0) * (x1 - x0))
        if _place_seed(t, y0 + place // (x1 - x0), x0 + place % (x1 - x0), direction, first):
            break
    for _ in range(retrials + 1):
        direction = below(state, SEED_DIRECTIONS)
        away = t.seed_step[TO_SECOND, below(state, SEED_DIRECTIONS)]
        y, x = int(np.rint(first[0] + away[0])), int(np.rint(first[1] + away[1]))
        if _place_seed(t, y, x, direction, second):
            return True
    return False


@njit(cache=True, nogil=True)
def _refused(t: Tables, mask: np.ndarray, here: int, direction: int) -> bool:
    """Whether mask and the paddle's own mask add up to 1.8 anywhere in the window."""
    for i in range(t.starts[LIMIT, direction], t.starts[LIMIT, direction + 1]):
        pixel = here + t.pixels[i, 0]
        if mask[pixel] >= t.pixels[i, 1] and t.window[INSIDE, pixel]:
            return True
    return False


@njit(cache=True, nogil=True)
def block(t: Tables, mask: np.ndarray, row: np.ndarray) -> None:
    """Enters a paddle into the mask."""
    here = (row[0] + t.frame) * t.stride + row[1] + t.frame
    for i in range(t.starts[MASK, row[2]], t.starts[MASK, row[2] + 1]):
        pixel = here + t.pixels[i, 0]
        mask[pixel] = max(mask[pixel], t.pixels[i, 1])


@njit(cache=True, nogil=True)
def _weigh(t: Tables, mask: np.ndarray, y: int, x: int, direction: int, total: np.ndarray) -> int:
    """Running sums of the candidates' weights around the pivot (y, x); returns how many candidates there are."""
    weight = 0.0
    count = 0
    while count < t.choices.shape[1] and t.choices[direction, count] >= 0:
        choice = t.choices[direction, count]
        head_y, head_x = y + t.candidates[choice, 0], x + t.candidates[choice, 1]
        if _within(t.size, head_y, head_x):
            here = (head_y + t.frame) * t.stride + head_x + t.frame
            covered = np.uint8(0)
            for i in range(len(t.disc)):
                covered = max(covered, mask[here + t.disc[i]])
            weight += t.free[covered] * t.weights[direction, count]
        total[count] = weight
        count += 1
    return count


@njit(cache=True, nogil=True)
def extend(
    t: Tables, state: np.ndarray, mask: np.ndarray, last: np.ndarray, new: np.ndarray, total: np.ndarray,
    retrials: int, prompt: bool,
) -> bool:  # fmt: skip
    """Finds the paddle after `last` and writes it to `new`; then `last` enters the mask. False on failure."""
    pivot_y, pivot_x = moved(last[3], last[4], t.pivot_step[last[2]])
    count = _weigh(t, mask, pivot_y, pivot_x, last[2], total)
    if count == 0 or total[count - 1] < 1e-4:
        return False
    for _ in range(retrials + 1):
        mark = uniform(state) * total[count - 1]
        index = 0
        while index < count - 1 and total[index] <= mark:
            index += 1
        choice = t.choices[last[2], index]
        y, x = pivot_y + t.candidates[choice, 0], pivot_x + t.candidates[choice, 1]
        direction = SEED_DIRECTIONS + choice
        if not _refused(t, mask, (y + t.frame) * t.stride + x + t.frame, direction):
            new[0], new[1], new[2], new[3], new[4] = y, x, direction, pivot_y, pivot_x
            block(t, mask, new if prompt else last)
            return True
    return False


@njit(cache=True, nogil=True)
def grow_pair(
    t: Tables, state: np.ndarray, mask: np.ndarray, paths: np.ndarray, total: np.ndarray, history: np.ndarray,
    retrials: int, prompt: bool,
) -> bool:  # fmt: skip
    """One attempt at both target curves, turn by turn; `history` (paddles, mask) is used by the wrong repair only."""
    if not _seed_pair(t, state, retrials, paths[0, 0], paths[1, 0]):
        return False
    copy(t.window[BLANK], mask)
    repairs = 50 if len(history) > 0 else 0
    step = 1
    while step < paths.shape[1]:
        if len(history) > 0:
            copy(mask, history[step])
        grown = True
        for curve in range(2):
            last, new = paths[curve, step - 1], paths[curve, step]
            grown = grown and extend(t, state, mask, last, new, total, retrials, prompt)
        if grown:
            step += 1
        elif repairs == 0:
            return False
        else:
            repairs -= 1
            step = max(step - 2, 1)
            copy(history[step], mask)
    block(t, mask, paths[1, paths.shape[1] - 1])
    return True


@njit(cache=True, nogil=True)
def _free_places(t: Tables, mask: np.ndarray, direction: int, places: np.ndarray) -> int:
    """Pixels where a distractor may start: the core of its mask meets neither mask nor the window's edge pixels."""
    start, end = t.starts[CORE, direction], t.starts[CORE, direction + 1]
    count = 0
    for y in range(t.size if end > start else 0):
        for x in range(t.size):
            here = (y + t.frame) * t.stride + x + t.frame
            free = True
            for i in range(start, end):
                pixel = here + t.pixels[i, 0]
                if t.window[EDGE, pixel] or (mask[pixel] > FREE_MASK and t.window[INSIDE, pixel]):
                    free = False
                    break
            if free:
                places[count] = y * t.size + x
                count += 1
    return count


@njit(cache=True, nogil=True)
def _seed_distractor(
    t: Tables, state: np.ndarray, mask: np.ndarray, row: np.ndarray, places: np.ndarray, retrials: int
) -> bool:
    """The first paddle of a distractor; fails at once where less than a hundredth of the window is free."""
    free = 0
    for pixel in range(len(mask)):
        free += t.window[INSIDE, pixel] and mask[pixel] <= FREE_MASK
    if free / (t.size * t.size) < 0.01:
        return False
    for _ in range(retrials + 1):
        direction = below(state, SEED_DIRECTIONS)
        count = _free_places(t, mask, direction, places)
        if count == 0:
            return False
        place = places[below(state, count)]
        if _place_seed(t, place // t.size, place % t.size, direction, row):
            return True
    return False


@njit(cache=True, nogil=True)
def grow_distractor(
    t: Tables, state: np.ndarray, mask: np.ndarray, path: np.ndarray, total: np.ndarray, places: np.ndarray,
    kept: np.ndarray, retrials: int, prompt: bool,
) -> bool:  # fmt: skip
    """One attempt at a distractor; on failure the mask is what it was."""
    if not _seed_distractor(t, state, mask, path[0], places, retrials):
        return False
    copy(mask, kept)
    for step in range(1, len(path)):
        if not extend(t, state, mask, path[step - 1], path[step], total, retrials, prompt):
            copy(kept, mask)
            return False
    block(t, mask, path[len(path) - 1])
    return True


@njit(cache=True, nogil=True)
def _same_distance(tail: np.ndarray, one: np.ndarray, other: np.ndarray) -> bool:
    """Whether both ends are equally far from the tail, in whole pixels."""
    near = math.hypot(tail[0] - one[0], tail[1] - one[1])
    return np.rint(near) == np.rint(math.hypot(tail[0] - other[0], tail[1] - other[1]))


@njit(cache=True, nogil=True)
def sample(
    t: Tables, states: np.ndarray, paddle_retrials: int, distractor_retrials: int, balance: bool, repair: bool,
    prompt: bool, patience: int, targets: np.ndarray, distractors: np.ndarray, facts: np.ndarray,
) -> bool:  # fmt: skip
    """Fills the last three arrays, one row a state; False where an image needs more than `patience` restarts.

    targets (n, 2, paddles, 5); distractors (n, requested, paddles, 5), the first few of them found;
    facts (n, 4): origin curve, label, restarts, distractors found.
    """
    mask, kept = np.empty(t.window.shape[1], np.uint8), np.empty(t.window.shape[1], np.uint8)
    total = np.empty(len(t.candidates))
    places = np.empty(t.size * t.size, np.int64)
    history = np.empty((targets.shape[2] if repair else 0, len(mask)), np.uint8)
    for n in range(len(states)):
        state = states[n]
        while True:
            if grow_pair(t, state, mask, targets[n], total, history, paddle_retrials, prompt):
                facts[n, 0] = below(state, 2)
                tail, last = targets[n, facts[n, 0], 0], targets.shape[2] - 1
                if not balance or _same_distance(tail, targets[n, 0, last], targets[n, 1, last]):
                    break
            facts[n, 2] += 1
            if facts[n, 2] > patience:
                return False
        for _ in range(distractors.shape[1]):
            path = distractors[n, facts[n, 3]]
            for _ in range(distractor_retrials + 1):
                if grow_distractor(t, state, mask, path, total, places, kept, paddle_retrials, prompt):
                    facts[n, 3] += 1
                    break
        facts[n, 1] = below(state, 2)
    return True
