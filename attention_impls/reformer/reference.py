"""LSH attention in NumPy, float64, from Kitaev et al. 2020, section 2.

Equations 4 to 6 weigh the rounds so that each token that i sees counts once. So O is one softmax over the union of the
rounds.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax
from attention_impls.reformer import SMALLEST, Options


def attend(q: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, _: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            rounds = [[table[r, h] for table in layer.constants.values()] for r in range(layer.options.rounds)]
            seen = np.any([_seen(q[:, h], rotations, layer.options) for rotations in rounds], axis=0)
            if not layer.options.allow_self and len(v) > 1:
                seen &= ~np.eye(len(v), dtype=bool)
            k = q[:, h] / np.maximum(np.linalg.norm(q[:, h], axis=1, keepdims=True), SMALLEST)  # eq. (keys)
            out[:, h] = softmax(np.where(seen, q[:, h] @ k.T, -np.inf), 1) @ v[:, h]  # eq. (scores), (output)
        return out

    return each_example(q, q, v, layer.lengths, attend_one)


def _seen(q: Float[np.ndarray, "n D"], rotations: list[np.ndarray], options: Options) -> Bool[np.ndarray, "n n"]:
    """Whether token i sees token j in one round."""
    return _in_reach(_buckets(q, rotations, options.chunk_size), options.chunk_size)


def _buckets(q: Float[np.ndarray, "n D"], rotations: list[np.ndarray], size: int) -> Int[np.ndarray, " n"]:
    """The bucket of each token. There are about two buckets a chunk; several hashes share many of them."""
    n = len(q)
    total = 2
    while 2 * total <= 2 * (n // size):
        total *= 2
    most, hashes = 2, 1
    while 2 * most <= 2 * size:
        most *= 2
    while most**hashes < total:
        hashes += 1
    buckets = np.zeros(n, int)
    for rotation, left in zip(rotations, range(hashes, 0, -1), strict=False):
        # `left` hashes share what is left of the buckets: equal powers of two, the first ones larger where uneven.
        count = 2 ** math.ceil(math.log2(total) / left)
        buckets = buckets * count + _hash(q, rotation, count)
        total //= count
    return buckets


def _in_reach(buckets: Int[np.ndarray, " n"], size: int) -> Bool[np.ndarray, "n n"]:
    """Whether token i has token j in its own or the previous chunk, once tokens are sorted by bucket.

    Example: eight tokens in chunks of two. Their order by bucket is `1 4 | 7 0 | 2 6 | 5 3`: token 2 sees 7, 0, 2, 6.

    >>> buckets = np.array([1, 0, 1, 3, 0, 2, 1, 0])
    >>> order = buckets.argsort(kind="stable")
    >>> order.tolist()
    [1, 4, 7, 0, 2, 6, 5, 3]
    >>> (order.argsort() // 2).tolist()  # the chunk of each token
    [1, 0, 2, 3, 0, 3, 2, 1]
    >>> np.flatnonzero(_in_reach(buckets, 2)[2]).tolist()
    [0, 2, 6, 7]
    >>> np.flatnonzero(_in_reach(buckets, 2)[1]).tolist()  # in the first chunk, which has none before it
    [1, 4]
    """
    order = buckets.argsort(kind="stable")  # tokens of one bucket stay in their order
    place = order.argsort()
    chunk = place // size
    back = chunk[:, None] - chunk[None, :]
    return (back == 0) | (back == 1)


def _hash(q: Float[np.ndarray, "n D"], rotation: np.ndarray, buckets: int) -> np.ndarray:
    """Equation of the hash: argmax of [q R; −q R]."""
    rotated = q @ rotation[:, : buckets // 2]  # eq. (hash)
    return np.concatenate([rotated, -rotated], 1).argmax(1)
