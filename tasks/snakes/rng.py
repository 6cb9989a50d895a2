"""Random numbers inside compiled code: xoshiro256++ (Blackman and Vigna), a state of four 64-bit words an image."""

from __future__ import annotations

import numpy as np
from numba import njit


def image_states(seed: int, stream: int, first: int, count: int) -> np.ndarray:
    """(count, 5) uint64: four words of state and one to spare for each image, hashed from (seed, stream, number)."""
    return np.stack(
        [np.random.SeedSequence([seed, stream, first + i]).generate_state(5, np.uint64) for i in range(count)]
    )


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
