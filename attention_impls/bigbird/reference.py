"""BigBird attention in NumPy, float64, one block of queries at a time: Zaheer et al. 2020, section 2."""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Layer
from attention_impls.bigbird import Options
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        blocks = np.split(np.arange(len(v)), range(layer.options.block_size, len(v), layer.options.block_size))
        for h in range(layer.dims.heads):
            for i, rows in enumerate(blocks):
                uniform = layer.constants["random_blocks"][h, i] if layer.options.random_blocks else np.empty(0)
                keys = np.concatenate([blocks[j] for j in sorted(_seen(i, len(blocks), uniform))])
                scores = q[rows, h] @ k[keys, h].T / math.sqrt(layer.dims.head_dim)
                out[rows, h] = softmax(scores, 1) @ v[keys, h]  # eq. (ordinary), (global)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _seen(i: int, blocks: int, uniform: np.ndarray) -> set[int]:
    """The blocks that block i of `blocks` sees."""
    if i in (0, blocks - 1):
        return set(range(blocks))
    seen = {0, i - 1, i, i + 1, blocks - 1}  # eq. (seen)
    return seen | _sample([j for j in range(blocks) if j not in seen], uniform)


def _sample(free: list[int], uniform: np.ndarray) -> set[int]:
    """As many different elements of `free` as there are numbers, or all of them: Floyd's algorithm.

    Where there are fewer elements than numbers, the first numbers are left over.
    """
    chosen: set[int] = set()
    wanted = min(len(free), len(uniform))
    for end, u in zip(range(len(free) - wanted, len(free)), uniform[len(uniform) - wanted :], strict=True):
        drawn = free[math.floor(u * (end + 1))]
        chosen.add(free[end] if drawn in chosen else drawn)
    return chosen
