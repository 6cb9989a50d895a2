"""The arrays and the cost of the wide depthwise convolution over tokens that mechanisms may add on V.

Each head has one filter for all its features. Products with banded matrices, block by block, are faster for such long
filters than shifted multiply-adds, although a block's window has block + kernel − 1 tokens. If each channel is a head,
short blocks keep the matrices (block × window for each) small compared with the tokens.
"""

from __future__ import annotations

import math

import numpy as np

from attention_impls.base import Arrays, Dims

FILTER = "conv.weight"
BLOCK = 64


def token_conv_params(kernel: int, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Filters (H, kernel), uniform within ±1/√kernel: PyTorch's default for a convolution with one input a group."""
    bound = 1 / math.sqrt(kernel)
    return {FILTER: rng.uniform(-bound, bound, (dims.heads, kernel))}


def token_conv_operations(kernel: int, dims: Dims, length: int, block: int = BLOCK) -> int:
    """Multiply-adds of the banded products."""
    return dims.heads * dims.head_dim * -(-length // block) * block * (block + kernel - 1)


def band(kernel: int, block: int = BLOCK) -> np.ndarray:
    """(block, block + kernel − 1): which tap an output token of a block takes from each token of its window.

    Where it takes none the entry is `kernel`, the place of a zero put behind the taps.
    """
    tap = np.arange(block + kernel - 1) - np.arange(block)[:, None]
    return np.where((tap >= 0) & (tap < kernel), tap, kernel)


def check_kernel(kernel: int) -> None:
    """Raise ValueError for a kernel that has no middle."""
    if kernel > 0 and kernel % 2 == 0:
        raise ValueError(f"conv_kernel is {kernel}, expected an odd number, or 0 for no convolution")
