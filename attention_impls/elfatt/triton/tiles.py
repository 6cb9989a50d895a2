"""What ELFATT's Triton kernels share: products, tiles of tokens by features, the convolution of V and its gradients.

A tile has a power of two of rows, tokens, and WIDTH ≥ D features, a power of two. What a tile has beyond the tokens
that are asked for, or beyond the D features, is read as zero and never written, so padding may hold anything.

Programs are (place, head, example). The heads of one launch are those from FIRST on of q, k, v and what is like them:
contiguous (B, N, H, D), or three that share the strides of an example, a token and a head. Everything else that a
kernel reads or writes has these heads only.
"""

# pyright: reportGeneralTypeIssues=false
# A jitted function can only be called by another, which pyright takes for one that never returns.
from __future__ import annotations

import triton
import triton.language as tl
from triton import knobs

# Triton's interpreter has no arithmetic on bfloat16; its products take the same rounded numbers in float32.
INTERPRETED = tl.constexpr(knobs.runtime.interpret)


@triton.jit
def product(a, b) -> tl.tensor:
    """a b, summed in float32; float32 operands are multiplied as they are, without TF32."""
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def real_tokens(lengths, tokens, RAGGED: tl.constexpr) -> tl.tensor:
    """How many tokens of this program's example are real: all of them unless RAGGED."""
    length = tokens
    if RAGGED:
        length = tl.minimum(tl.load(lengths + tl.program_id(2)).to(tl.int32), tokens)
    return length


@triton.jit
def places(batch_stride, head_stride, tokens, width, D: tl.constexpr, FIRST: tl.constexpr) -> tuple:
    """Where this program's example and head begin: in q, k, v by their strides, and in contiguous (B, N, H, D)."""
    head, example = tl.program_id(1) + FIRST, tl.program_id(2).to(tl.int64)
    return example * batch_stride + head * head_stride, example * tokens * width + head * D


@triton.jit
def load_rows(pointer, rows, stride, first, last, D: tl.constexpr, WIDTH: tl.constexpr) -> tl.tensor:
    """The tile of these rows; zeros where a row is outside of first ≤ row < last."""
    features = tl.arange(0, WIDTH)
    seen = ((rows >= first) & (rows < last))[:, None] & (features < D)[None, :]
    return tl.load(pointer + rows[:, None] * stride + features[None, :], mask=seen, other=0.0)


@triton.jit
def store_rows(pointer, rows, stride, last, end, tile, D: tl.constexpr, WIDTH: tl.constexpr) -> None:
    """Write the rows before `end`, those from `last` on, which are padding, as zeros."""
    features = tl.arange(0, WIDTH)
    kept = tl.where((rows < last)[:, None], tile, 0.0).to(pointer.dtype.element_ty)
    seen = (rows < end)[:, None] & (features < D)[None, :]
    tl.store(pointer + rows[:, None] * stride + features[None, :], kept, mask=seen)


@triton.jit
def neighbours(pointer, rows, stride, first, last, D: tl.constexpr, WIDTH: tl.constexpr) -> tuple:
    """The tiles of the rows before, of the rows themselves and of the rows after, in float32."""
    before = load_rows(pointer, rows - 1, stride, first, last, D, WIDTH).to(tl.float32)
    here = load_rows(pointer, rows, stride, first, last, D, WIDTH).to(tl.float32)
    after = load_rows(pointer, rows + 1, stride, first, last, D, WIDTH).to(tl.float32)
    return before, here, after


@triton.jit
def taps(weight, D: tl.constexpr, WIDTH: tl.constexpr, FIRST: tl.constexpr) -> tuple:
    """w₋₁, w₀ and w₁ of this program's head, from the weights (H, D, 3) of all heads."""
    features = tl.arange(0, WIDTH)
    pointers = weight + ((tl.program_id(1) + FIRST) * D + features) * 3
    seen = features < D
    first = tl.load(pointers, mask=seen, other=0.0).to(tl.float32)
    second = tl.load(pointers + 1, mask=seen, other=0.0).to(tl.float32)
    third = tl.load(pointers + 2, mask=seen, other=0.0).to(tl.float32)
    return first[None, :], second[None, :], third[None, :]


@triton.jit
def convolved(
    v, rows, stride, first, last, weight, bias, D: tl.constexpr, WIDTH: tl.constexpr, FIRST: tl.constexpr
) -> tl.tensor:
    """L(V): w₋₁ v[i − 1] + w₀ v[i] + w₁ v[i + 1] + β, with zeros for v outside of first ≤ i < last."""
    features = tl.arange(0, WIDTH)
    pointers = bias + (tl.program_id(1) + FIRST) * D + features
    shift = tl.load(pointers, mask=features < D, other=0.0).to(tl.float32)
    before, here, after = neighbours(v, rows, stride, first, last, D, WIDTH)
    left, middle, right = taps(weight, D, WIDTH, FIRST)
    return left * before + middle * here + right * after + shift[None, :]


@triton.jit
def convolved_back(before, here, after, weight, D: tl.constexpr, WIDTH: tl.constexpr, FIRST: tl.constexpr) -> tl.tensor:
    """Lᵀ(dO), from the neighbours of dO: w₋₁ dO[i + 1] + w₀ dO[i] + w₁ dO[i − 1]."""
    left, middle, right = taps(weight, D, WIDTH, FIRST)
    return left * after + middle * here + right * before


@triton.jit
def tap_sums(before, here, after, v) -> tuple:
    """What these rows of v give to the gradients of w₋₁, w₀, w₁ and β, from the neighbours of dO."""
    x = v.to(tl.float32)
    return tl.sum(after * x, 0), tl.sum(here * x, 0), tl.sum(before * x, 0), tl.sum(here, 0)


@triton.jit
def no_sums(WIDTH: tl.constexpr) -> tuple:
    """Four sums to which nothing was added yet."""
    none = tl.zeros([WIDTH], tl.float32)
    return none, none, none, none


@triton.jit
def store_sums(pointer, found, WIDTH: tl.constexpr) -> None:
    """Write this program's four sums into its (4, WIDTH) part of (B, programs, heads, 4, WIDTH)."""
    left, middle, right, shift = found
    # In 64 bits: short blocks of a large batch leave more than 2³¹ numbers.
    program = tl.program_id(2).to(tl.int64) * tl.num_programs(0) + tl.program_id(0)
    features = (program * tl.num_programs(1) + tl.program_id(1)) * 4 * WIDTH + tl.arange(0, WIDTH)
    tl.store(pointer + features, left)
    tl.store(pointer + features + WIDTH, middle)
    tl.store(pointer + features + 2 * WIDTH, right)
    tl.store(pointer + features + 3 * WIDTH, shift)
