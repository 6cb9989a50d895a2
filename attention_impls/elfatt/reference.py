"""ELFATT in NumPy, float64, from the formula of Wu et al. 2025 (its README and figure), one block at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from attention_impls.base import Dims, Layer
from attention_impls.elfatt import Options
from attention_impls.ops.local_conv import BIAS, WEIGHT
from attention_impls.ops.reference_ops import Example, Tokens, depthwise_conv, each_example, softmax


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(layer.dims.heads):
            one = slice(h, h + 1)
            conv = (layer.params[WEIGHT][one], layer.params[BIAS][one]) if layer.options.local_conv else None
            if h < math.floor(layer.options.global_share * layer.dims.heads):
                out[:, h] = softmax(q[:, h], 1) @ (softmax(k[:, h], 0).T @ v[:, h])  # eq. (global)
                everything = np.arange(len(v))
                out[:, one] += (
                    0 if conv is None else _conv(everything, v[:, one], conv, _place(layer.options, layer.dims))
                )
                continue
            for block in _blocks(len(v), layer.options, layer.dims):
                scores = q[block, h] @ k[block, h].T / math.sqrt(layer.dims.head_dim)
                out[block, h] = softmax(scores, 1) @ v[block, h]  # eq. (block)
                out[block, one] += (
                    0 if conv is None else _conv(block, v[block, one], conv, _place(layer.options, layer.dims))
                )
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _place(options: Options, dims: Dims) -> int:
    """Pixels in a row of the image; one for the sequence, which is then an image of one column."""
    return 1 if options.layout == "1d" or dims.grid is None else dims.grid[1]


def _blocks(tokens: int, options: Options, dims: Dims) -> Iterator[np.ndarray]:
    """The tokens of each block: those whose row and column fall into the same multiples of its sides."""
    columns = _place(options, dims)
    tall = options.block_size if options.layout == "1d" else math.isqrt(options.block_size)
    row, column = np.divmod(np.arange(tokens), columns)
    name = (row // tall) * columns + column // tall
    for block in np.unique(name):
        yield np.flatnonzero(name == block)


def _conv(block: np.ndarray, v: Example, conv: tuple[np.ndarray, np.ndarray], columns: int) -> Example:
    """The convolution over the smallest rectangle of pixels that holds the block, zeros where it has no token."""
    weight, bias = conv
    row, column = np.divmod(block, columns)
    row, column = row - row.min(), column - column.min()
    if weight.ndim == 3:
        weight = weight[..., None] * np.array([0.0, 1.0, 0.0])
    picture = np.zeros((row.max() + 1, column.max() + 1, *v.shape[1:]))
    picture[row, column] = v
    return depthwise_conv(picture, weight, bias)[row, column]
