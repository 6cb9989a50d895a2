"""The launches of ELFATT's Triton kernels, for PyTorch and JAX: order, grids, tiles, splits, scratch memory.

A launch is a `KernelStep`. A kernel gets arrays, numbers and constants by the names of its parameters. They come from
one description of the call, `Sizes`. A framework only has to `perform` a step on its own arrays.

Traffic is counted in tensors of one head's size, E bytes. The forward pass moves 5 E in a global head and 4 E in a
block head, the backward pass 8 E and 7 E. It moves 12 E if a block is cut into several tiles. That is so for more than
128 tokens, or 64 with more than 64 features, or 32 in float32. Statistics and partial sums add at most 0.6 E.
Kernels of the two kinds of heads are launched one after the other: in one launch, each would hold the registers of the
larger. Nothing waits for the GPU, and no sum depends on the order in which programs run.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from attention_impls.elfatt.triton import block_heads, global_heads

Arrays = dict[str, Any]
"""A framework's arrays by the names that kernels have for them; q, k and v are (B, N, H, D)."""

# At most so many splits of a length: enough for every multiprocessor, few enough to be combined in one step.
SPLITS = 64
# Elements that one program combines at once.
COMBINED = 8192
STATISTICS = ("top", "total", "context")
"""What the backward pass needs of global heads: column maxima (B, h, W) and sums of K, and the context (B, h, W, W)."""
ABSENT = ("lengths", "weight", "bias")
"""Arrays that may be missing. A kernel does not look at them then, and is given q in their place."""


@dataclass(frozen=True)
class Sizes:
    """One call: all that decides how it is launched."""

    batch: int
    tokens: int
    heads: int
    head_dim: int
    itemsize: int
    """Bytes of an element of q, k and v."""
    split: int
    """Heads before it are global, the others attend inside blocks."""
    block: int
    """Tokens of a block, at most `tokens`."""
    strides: tuple[int, int, int]
    """Of an example, a token and a head, in elements of q, k and v, whose features lie side by side."""
    ragged: bool
    """Whether lengths are given."""
    conv: bool
    """Whether there is a convolution."""

    @property
    def width(self) -> int:
        """Features of a tile: a power of two, at least 16, the least that a matrix product takes."""
        return max(16, _power(self.head_dim))

    @property
    def half(self) -> bool:
        """Whether elements have 16 bits."""
        return self.itemsize == 2

    def values(self, **more: Any) -> dict[str, Any]:
        """What kernels are told of it, numbers in small letters and constants in capitals; `more` differs by kernel."""
        batch_stride, row_stride, head_stride = self.strides
        numbers = {"tokens": self.tokens, "block": self.block, "width": self.heads * self.head_dim}
        numbers |= {"batch_stride": batch_stride, "row_stride": row_stride, "head_stride": head_stride}
        return {**numbers, "D": self.head_dim, "WIDTH": self.width, "RAGGED": self.ragged, "CONV": self.conv, **more}


@dataclass(frozen=True)
class KernelStep:
    """One launch."""

    kernel: Any
    grid: tuple[int, int, int]
    reads: tuple[str, ...]
    """Names of the arrays that it reads. Of what a kernel has parameters for, all come in the kernel's order."""
    numbers: dict[str, int]
    """What it is told when it runs."""
    writes: dict[str, tuple[int, ...] | None]
    """Shapes of what it writes: float32, or None for an array like q, of which it writes its own heads alone."""
    constants: dict[str, Any]
    """What it is compiled for."""
    warps: int

    def read(self, arrays: Arrays) -> Arrays:
        """The arrays that it reads."""
        return {name: arrays["q"] if name in ABSENT and name not in arrays else arrays[name] for name in self.reads}


Perform = Callable[[KernelStep, Arrays], None]
"""Launches a step and puts what it writes into the arrays. An array like q that is there already is written into."""


def forward(sizes: Sizes, arrays: Arrays, perform: Perform) -> None:
    """From q, k, v and, where given, lengths, weight and bias: out, and of global heads STATISTICS.

    weight (H, D, 3) and bias (H, D) are the convolution's, lengths (B,) count the real tokens of each example.
    """
    if sizes.split > 0:
        for step in global_forward(sizes):
            perform(step, arrays)
    if sizes.split < sizes.heads:
        perform(block_forward(sizes), arrays)


def backward(sizes: Sizes, arrays: Arrays, perform: Perform) -> list[Any]:
    """From the same, STATISTICS and the contiguous gradient of out: dq, dk and dv.

    Returns the gradients (h, 4, W) of the convolution's taps and bias: of the global heads, then of the block heads.
    """
    taps = []
    if sizes.split > 0:
        queries, keys = global_backward(sizes)
        perform(queries, arrays)
        arrays["by_context"] = arrays["by_contexts"].sum(2)
        perform(keys, arrays)
        taps.append(arrays.pop("sums"))
    if sizes.split < sizes.heads:
        for step in block_backward(sizes):
            perform(step, arrays)
        taps.append(arrays.pop("sums"))
    return [each.sum((0, 1)) for each in taps] if sizes.conv else []


@functools.lru_cache(512)
def global_forward(sizes: Sizes) -> tuple[KernelStep, ...]:
    """q, k, v -> STATISTICS and out."""
    rows, split, warps = _global_tiles(sizes)
    width, splits = sizes.width, _ceil(sizes.tokens, split)
    most, (batch, heads) = _power(splits), (sizes.batch, sizes.split)
    features = max(1, min(width, COMBINED // (most * width)))
    told = sizes.values(FIRST=0, ROWS=rows, SPLIT=split, splits=splits, SPLITS=most, FEATURES=features)

    def statistics(names: tuple[str, str, str], *lead: int) -> dict[str, tuple[int, ...] | None]:
        top, total, context = names
        return {top: (*lead, width), total: (*lead, width), context: (*lead, width, width)}

    parts = statistics(("tops", "totals", "contexts"), batch, heads, splits)
    whole = statistics(STATISTICS, batch, heads)
    return (
        _step(global_heads.global_partial, (splits, heads, batch), told, parts, warps),
        _step(global_heads.global_combine, (width // features, heads, batch), told, whole, 8),
        _step(global_heads.global_output, (_ceil(sizes.tokens, rows), heads, batch), told, {"out": None}, warps),
    )


@functools.lru_cache(512)
def global_backward(sizes: Sizes) -> tuple[KernelStep, KernelStep]:
    """q, gradient -> dq and by_contexts, whose sum over splits is by_context; k, v, gradient -> dk, dv and sums."""
    rows, split, warps = _global_tiles(sizes)
    width, splits = sizes.width, _ceil(sizes.tokens, split)
    grid = splits, sizes.split, sizes.batch
    told = sizes.values(FIRST=0, ROWS=rows, SPLIT=split)
    matrices = (sizes.batch, sizes.split, splits, width, width)
    found = {"dk": None, "dv": None, "sums": _sums(sizes, grid)}
    queries = _step(global_heads.global_backward_queries, grid, told, {"dq": None, "by_contexts": matrices}, warps)
    return queries, _step(global_heads.global_backward_keys, grid, told, found, warps)


@functools.lru_cache(512)
def block_forward(sizes: Sizes) -> KernelStep:
    """q, k, v -> out."""
    grid, told, warps = _block_tiles(sizes)
    return _step(block_heads.block_forward, grid, told, {"out": None}, warps)


@functools.lru_cache(512)
def block_backward(sizes: Sizes) -> tuple[KernelStep, ...]:
    """q, k, v, gradient -> dq, dk, dv and sums."""
    grid, told, warps = _block_tiles(sizes)
    found = {"dk": None, "dv": None, "sums": _sums(sizes, grid)}
    if told["ROWS"] >= sizes.block:
        return (_step(block_heads.block_backward, grid, told, {"dq": None, **found}, warps),)
    numbers = (sizes.batch, grid[1], sizes.tokens)
    rows = {"dq": None, "row_norm": numbers, "row_mean": numbers}
    return (
        _step(block_heads.block_backward_rows, grid, told, rows, warps),
        _step(block_heads.block_backward_columns, grid, told, found, warps),
    )


def _step(
    kernel: Any,
    grid: tuple[int, int, int],
    told: dict[str, Any],
    writes: dict[str, tuple[int, ...] | None],
    warps: int,
) -> KernelStep:
    names = inspect.signature(kernel.fn).parameters
    return KernelStep(
        kernel=kernel,
        grid=grid,
        reads=tuple(name for name in names if name not in told and name not in writes),
        numbers={name: told[name] for name in names if name in told and not name.isupper()},
        writes={name: writes[name] for name in names if name in writes},
        constants={name: told[name] for name in names if name in told and name.isupper()},
        warps=warps,
    )


def _global_tiles(sizes: Sizes) -> tuple[int, int, int]:
    """Rows of a tile, tokens of a split, warps: what keeps every register out of memory (see the tests).

    A split's D × D matrix in float32 is 1/16 of the keys and values that it is made from, in 16 bits 1/8.
    """
    rows = 64 if sizes.half and sizes.width <= 64 else 32
    split = max(8 * sizes.width, _power(_ceil(sizes.tokens, SPLITS)))
    return rows, split, 4 if sizes.width <= 32 else 8


def _block_tiles(sizes: Sizes) -> tuple[tuple[int, int, int], dict[str, Any], int]:
    """Grid, what is told and warps of a kernel over blocks.

    The tensor cores' registers hold scores of `128 × 128` beside their gradients. float32 has no tensor cores. There
    each thread keeps rows of both operands, which leaves room for 32 rows.
    """
    width, half = sizes.width, sizes.half
    most = 32 if not half else 128 if width <= 64 else 64
    rows = min(most, max(16, _power(sizes.block)))
    warps = 8 if rows == 128 or width == 128 or (width == 64 and not half) else 4
    grid = (_ceil(sizes.tokens, sizes.block) * _ceil(sizes.block, rows), sizes.heads - sizes.split, sizes.batch)
    scale = math.log2(math.e) / math.sqrt(sizes.head_dim)
    return grid, sizes.values(FIRST=sizes.split, ROWS=rows, SCALE=scale), warps


def _sums(sizes: Sizes, grid: tuple[int, int, int]) -> tuple[int, ...]:
    """The shape of all programs' parts of the convolution's gradients; without one a place that stays unwritten."""
    programs, heads, batch = grid
    return (batch, programs, heads, 4, sizes.width) if sizes.conv else (1,)


def _ceil(total: int, size: int) -> int:
    """How many parts of `size` cover `total`."""
    return -(-total // size)


def _power(least: int) -> int:
    """The first power of two that is not less."""
    return 1 << (least - 1).bit_length()
