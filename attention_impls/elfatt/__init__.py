"""ELFATT: some heads attend globally in linear time, the others inside blocks with softmax."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.elfatt.kernels import INSTALLED, Kernel, kernel_used
from attention_impls.elfatt.tiling import Tiling, tile
from attention_impls.equation import Equation
from attention_impls.ops.local_conv import local_conv_params


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ELFATT."""

    block_size: Count = 128
    """Tokens of one block; in the 2d layout a square number, the area of a window."""
    layout: Literal["1d", "2d"] = "1d"
    """1d: blocks of consecutive tokens; 2d: square windows of the pixel grid."""
    local_conv: bool = True
    """Add a depthwise convolution of V, kernel 3, over the sequence (global heads) and inside blocks (block heads)."""
    global_share: Annotated[float, Interval(ge=0, le=1)] = 0.5
    """Share of global heads, rounded down. 0: block heads only; 1: efficient attention."""
    kernel: Kernel = "auto"
    """fused: fused kernels; jax_triton: in JAX those of PyTorch (run on no GPU yet); composed: the framework's
    operations; auto: fused kernels if they can run."""


def global_heads(options: Options, dims: Dims) -> int:
    """⌊share · H⌋, without rounding errors for a share such as 0.29."""
    return math.floor(options.global_share * dims.heads + 1e-9)


def tiling(options: Options, dims: Dims, tokens: int) -> Tiling:
    """The blocks of `tokens` tokens. ValueError for the 2d layout without a grid."""
    if options.layout == "1d":
        return tile(tokens, options.block_size, None)
    if dims.grid is None:
        raise ValueError("layout is 2d for a task without a pixel grid: use layout 1d")
    return tile(tokens, options.block_size, dims.grid[1])


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for windows that do not fit the grid, or without a grid."""
    if options.layout == "1d":
        return
    if math.isqrt(options.block_size) ** 2 != options.block_size:
        raise ValueError(f"block_size is {options.block_size}, expected a square for layout 2d: use 64, 144 or 256")
    if dims.grid is None:
        raise ValueError("layout is 2d, expected 1d for a task without a pixel grid")
    if math.prod(dims.grid) < dims.max_length:
        raise ValueError(f"grid is {dims.grid}, expected at least max_length = {dims.max_length} pixels")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The convolution's arrays, if it is on."""
    axes = 2 if options.layout == "2d" else 1
    return local_conv_params(dims, rng, axes) if options.local_conv else {}


def operations(options: Options, dims: Dims, length: int) -> int:
    """Two products with a (D, D) context in global heads; scores and their product with v in blocks."""
    chosen, blocks = global_heads(options, dims), tiling(options, dims, length)
    whole = chosen * length * dims.head_dim
    local = (dims.heads - chosen) * blocks.padded_tokens * blocks.block_tokens
    return 2 * dims.head_dim * (whole + local)


def kernel(options: Options, dims: Dims, *, backend: str, device: str, dtype: str, ragged: bool) -> str:
    """The kernel that runs: fused kernels or the composition."""
    asked = options.kernel if options.kernel == "jax_triton" else "fused"
    return kernel_used(
        options.kernel,
        backend=backend,
        device=device,
        dtype=dtype,
        head_dim=dims.head_dim,
        block_size=options.block_size,
        layout=options.layout,
        installed=INSTALLED.get((asked, backend), False),
    )


CARD = Attention(
    title="ELFATT",
    year=2025,
    paper=Citation(
        authors="Chong Wu, Maolin Che, Renjie Xu, Zhuoheng Ran, Hong Yan",
        title="ELFATT: Efficient Linear Fast Attention for Vision Transformers",
        venue="ACM MM",
        year=2025,
        arxiv="2501.06098",
        doi="10.1145/3746027.3754825",
        pages="9140–9149",
    ),
    equations=(
        Equation(
            "global",
            (
                r"O = \operatorname{softmax}_{\text{features}}(Q) "
                r"\left(\operatorname{softmax}_{\text{tokens}}(K)^\top V\right) + L(V)"
            ),
            "in global heads; $L$ is a depthwise convolution of kernel 3",
        ),
        Equation(
            "block",
            r"O = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V + L(V)",
            "in each block of the other heads",
        ),
    ),
    cost="O(N·D·(D + n_b))",
    operations=operations,
    options=Options,
    variants=(
        Options(block_size=16),
        Options(block_size=16, local_conv=False),
        Options(block_size=16, global_share=0.0),
        Options(block_size=16, global_share=1.0),
        Options(block_size=16, layout="2d"),
        Options(block_size=16, layout="2d", global_share=0.0, local_conv=False),
    ),
    params=params,
    check=check,
    differs=(
        "For sequences only the formula and a figure are public. The global heads take their softmaxes over the axes "
        "of efficient attention, the only ones for which the formula's rows sum to 1. The formula fixes the number "
        "of blocks. Here their size is fixed: the cost is linear, and padding moves no border. A head is never "
        "split: an odd head goes to the blocks, and a single head is a block head. The formula would give half of "
        "its channels to each side."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(global_share=0.0, block_size=64),
            lengths=(1, 33, 64),
            tolerance=1e-12,
            why="one block that covers every token is softmax attention",
        ),
        Equality(
            options=Options(global_share=0.0, block_size=64, local_conv=False),
            lengths=(64,),
            tolerance=1e-12,
            why="the same without the convolution",
        ),
    ),
    kernel=kernel,
)
