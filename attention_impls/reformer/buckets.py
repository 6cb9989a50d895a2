"""How many buckets a sequence is hashed into; on Python integers only, for both frameworks."""

from __future__ import annotations

import functools

import numpy as np
from jaxtyping import Int


def factors(length: int, chunk_size: int) -> tuple[int, ...]:
    """Buckets of each hash, powers of two up to 2·chunk and about equal; their product is the number of buckets.

    Eight tokens in chunks of two have eight buckets. A hash tells at most four apart, so two of them share the work.

    >>> factors(8, 2)
    (4, 2)
    >>> factors(8, 4)
    (4,)
    """
    most = chunk_size.bit_length()  # 2 ** most is the greatest power of two up to 2·chunk
    power = max(1, (2 * (length // chunk_size)).bit_length() - 1)
    hashes = -(-power // most)
    return tuple(2 ** (power // hashes + (i < power % hashes)) for i in range(hashes))


def columns(length: int, chunk_size: int) -> tuple[int, ...]:
    """Columns of each hash's rotations that serve every length up to this one: half of its buckets.

    >>> columns(8, 2)
    (2, 1)
    """
    return tuple(int(most) // 2 for most in by_length(length, chunk_size).max(0))


@functools.cache
def by_length(length: int, chunk_size: int) -> Int[np.ndarray, "lengths hashes"]:
    """`factors` of every length from 0 to this one, filled up with ones."""
    rows = [factors(n, chunk_size) for n in range(length + 1)]
    hashes = max(len(row) for row in rows)
    return np.array([row + (1,) * (hashes - len(row)) for row in rows], np.int32)
