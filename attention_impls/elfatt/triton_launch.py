"""How ELFATT's Triton kernels are launched: tiles, splits, warps and partial sums.

Of tensors of one head's size, E bytes, the forward pass moves 5 E in a global head and 4 E in a block head, the
backward pass 8 E and 7 E; 12 E where a block is cut into several tiles, as one of more than 128 tokens is (64 with more
than 64 features, 32 in float32). Beside them stand statistics and partial sums in float32, of 0.6 E at most. Kernels of
the two kinds of heads are launched one after the other: in one launch, each would hold the registers of the larger.
Nothing waits for the GPU, and no sum depends on the order in which programs run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from attention_impls.elfatt import triton_block, triton_global

# At most so many splits of a length: enough for every multiprocessor, few enough to be combined in one step.
SPLITS = 64
# Elements that one program combines at once.
COMBINED = 8192


def launch(kernel: Any, grid: tuple[int, int, int], *arguments: Any, **constants: Any) -> None:
    """Start a kernel; the one place where any is."""
    kernel[grid](*arguments, **constants)


def global_forward(
    tensors: Sequence[Tensor], conv: Sequence[Tensor | None], lengths: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """q, k, v -> out; column maxima (B, H, W) and sums of K, and the context (B, H, W, W), W the features of a tile.

    conv: the convolution's weight and bias, or twice None.
    """
    q, k, v, out = tensors
    batch, tokens, heads, head_dim = q.shape
    width, rows, split, warps = _global_tiles(q)
    splits = _ceil(tokens, split)
    sizes: dict[str, Any] = {"D": head_dim, "WIDTH": width, "ROWS": rows, "num_warps": warps}
    parts, whole = _statistics(q, width, splits), _statistics(q, width)
    strides = q.stride()[:3]
    given = (k, v, *parts, lengths, strides, tokens)
    launch(triton_global.global_partial, (splits, heads, batch), *given, SPLIT=split, **sizes)
    most = _power(splits)
    features = max(1, min(width, COMBINED // (most * width)))
    combined = {"WIDTH": width, "FEATURES": features, "SPLITS": most, "num_warps": 8}
    launch(triton_global.global_combine, (width // features, heads, batch), *parts, *whole, splits, **combined)
    given = (q, v, out, whole[2], lengths, *conv, strides, out.stride(1), tokens)
    launch(triton_global.global_output, (_ceil(tokens, rows), heads, batch), *given, **sizes)
    return whole


def global_backward(
    tensors: Sequence[Tensor], weight: Tensor | None, lengths: Tensor | None, statistics: Sequence[Tensor]
) -> Tensor | None:
    """q, k, v, dO -> dq, dk, dv; the gradients (H, 4, W) of the convolution's taps and bias, where there is one."""
    q, k, v, gradient, dq, dk, dv = tensors
    top, total, context = statistics
    batch, tokens, heads, head_dim = q.shape
    width, rows, split, warps = _global_tiles(q)
    grid = (_ceil(tokens, split), heads, batch)
    sizes: dict[str, Any] = {"D": head_dim, "WIDTH": width, "ROWS": rows, "SPLIT": split, "num_warps": warps}
    where = (q.stride()[:3], gradient.stride(1), tokens)
    parts = _floats(q, batch, heads, grid[0], width, width)
    launch(triton_global.global_backward_queries, grid, q, gradient, dq, context, parts, lengths, *where, **sizes)
    sums = None if weight is None else _floats(q, batch, grid[0], heads, 4, width)
    given = (k, v, gradient, dk, dv, top, total, context, parts.sum(2), lengths, weight, sums)
    launch(triton_global.global_backward_keys, grid, *given, *where, **sizes)
    return None if sums is None else sums.sum((0, 1))


def block_forward(tensors: Sequence[Tensor], conv: Sequence[Tensor | None], lengths: Tensor | None, block: int) -> None:
    """q, k, v -> out."""
    grid, where, sizes = _block_tiles(tensors[0], tensors[-1], block)
    launch(triton_block.block_forward, grid, *tensors, lengths, *conv, *where, **sizes)


def block_backward(
    tensors: Sequence[Tensor], weight: Tensor | None, lengths: Tensor | None, block: int
) -> Tensor | None:
    """q, k, v, dO -> dq, dk, dv; the gradients (H, 4, W) of the convolution's taps and bias, where there is one."""
    q, k, v, gradient, dq, dk, dv = tensors
    grid, where, sizes = _block_tiles(q, gradient, block)
    batch, tokens, heads, _ = q.shape
    sums = None if weight is None else _floats(q, batch, grid[0], heads, 4, sizes["WIDTH"])
    if sizes["ROWS"] >= min(block, tokens):
        launch(triton_block.block_backward, grid, *tensors, lengths, weight, sums, *where, **sizes)
    else:
        rows = (_floats(q, batch, heads, tokens), _floats(q, batch, heads, tokens))
        launch(triton_block.block_backward_rows, grid, q, k, v, gradient, dq, *rows, lengths, *where, **sizes)
        given = (q, k, v, gradient, dk, dv, *rows, lengths, weight, sums)
        launch(triton_block.block_backward_columns, grid, *given, *where, **sizes)
    return None if sums is None else sums.sum((0, 1))


def _global_tiles(q: Tensor) -> tuple[int, int, int, int]:
    """Features and rows of a tile, tokens of a split, warps: what keeps every register out of memory (see the tests).

    A split's D × D matrix in float32 is 1/16 of the keys and values that it is made from, in 16 bits 1/8.
    """
    width = _width(q)
    rows = 64 if _half(q) and width <= 64 else 32
    split = max(8 * width, _power(_ceil(q.shape[1], SPLITS)))
    return width, rows, split, 4 if width <= 32 else 8


def _block_tiles(q: Tensor, out: Tensor, block: int) -> tuple[tuple[int, int, int], tuple, dict[str, int]]:
    """Grid, numbers and constants of a kernel over blocks.

    Scores of 128 × 128 are what the tensor cores' registers hold beside their gradients. float32 has no tensor cores:
    there each thread keeps rows of both operands, which leaves room for 32 rows.
    """
    batch, tokens, heads, head_dim = q.shape
    block, width = min(block, tokens), _width(q)
    most = 32 if not _half(q) else 128 if width <= 64 else 64
    rows = min(most, max(16, _power(block)))
    warps = 8 if rows == 128 or width == 128 or (width == 64 and not _half(q)) else 4
    grid = (_ceil(tokens, block) * _ceil(block, rows), heads, batch)
    where = (q.stride()[:3], out.stride(1), tokens, block, math.log2(math.e) / math.sqrt(head_dim))
    return grid, where, {"D": head_dim, "WIDTH": width, "ROWS": rows, "num_warps": warps}


def _half(q: Tensor) -> bool:
    return q.element_size() == 2


def _ceil(total: int, size: int) -> int:
    """How many parts of `size` cover `total`."""
    return -(-total // size)


def _power(least: int) -> int:
    """The first power of two that is not less."""
    return 1 << (least - 1).bit_length()


def _width(q: Tensor) -> int:
    """Features of a tile: a power of two, at least 16, the least that a matrix product takes."""
    return max(16, _power(q.shape[-1]))


def _statistics(q: Tensor, width: int, *splits: int) -> tuple[Tensor, Tensor, Tensor]:
    """Room for column maxima, column sums and a context, of each split or of all."""
    lead = (q.shape[0], q.shape[2], *splits)
    return _floats(q, *lead, width), _floats(q, *lead, width), _floats(q, *lead, width, width)


def _floats(q: Tensor, *shape: int) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=q.device)
