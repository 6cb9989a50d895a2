"""Triton kernels of ELFATT's block heads: in each block O = softmax(Q Kᵀ / √D) V + L(V).

What each reads and writes of tensors of one head's size; no scores, no statistics and no O are kept for later:

    block_forward           q, k, v            -> out
    block_backward          q, k, v, dO        -> dq, dk, dv      a block that is one tile
    block_backward_rows     q, k, v, dO        -> dq              a block of several tiles: first the rows, which leave
    block_backward_columns  q, k, v, dO        -> dk, dv          two numbers a token to the keys

SCALE is log₂(e) / √D: the exponentials are powers of two. Programs are (tile, head, example); a tile never reaches from
one block into the next.
"""

# pyright: reportGeneralTypeIssues=false
# A jitted function can only be called by another, which pyright takes for one that never returns.
from __future__ import annotations

import triton
import triton.language as tl

from attention_impls.elfatt.triton.tiles import (
    convolved,
    convolved_back,
    load_rows,
    neighbours,
    places,
    product,
    real_tokens,
    store_rows,
    store_sums,
    tap_sums,
)

LN2 = tl.constexpr(0.6931471805599453)


@triton.jit
def _tile(lengths, tokens, block, ROWS: tl.constexpr, RAGGED: tl.constexpr) -> tuple:
    """This program's rows, and its block: its first token, its first padded token and its end."""
    tiles = tl.cdiv(block, ROWS)
    first = tl.program_id(0) // tiles * block
    end = tl.minimum(first + block, tokens)
    last = tl.minimum(end, real_tokens(lengths, tokens, RAGGED))
    start = first + tl.program_id(0) % tiles * ROWS
    return start + tl.arange(0, ROWS), start, first, last, end


@triton.jit
def _scores(x, y, keys, last, SCALE: tl.constexpr) -> tl.tensor:
    """x yᵀ · SCALE, −∞ for keys that are padding."""
    return tl.where((keys < last)[None, :], product(x, tl.trans(y)) * SCALE, float("-inf"))


@triton.jit
def block_forward(
    q,
    k,
    v,
    out,
    lengths,
    weight,
    bias,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    block,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SCALE: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
    CONV: tl.constexpr,
) -> None:
    """One tile of rows against all keys of its block, with a running maximum where those are several tiles."""
    rows, start, first, last, end = _tile(lengths, tokens, block, ROWS, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    x = load_rows(q + here, rows, row_stride, first, last, D, WIDTH)
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    mixed = tl.zeros([ROWS, WIDTH], tl.float32)
    for key in range(first, tl.where(start < last, last, first), ROWS):
        keys = key + tl.arange(0, ROWS)
        y = load_rows(k + here, keys, row_stride, first, last, D, WIDTH)
        z = load_rows(v + here, keys, row_stride, first, last, D, WIDTH)
        score = _scores(x, y, keys, last, SCALE)
        higher = tl.maximum(top, tl.max(score, 1))
        p = tl.exp2(score - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 1)
        mixed = mixed * shrink[:, None] + product(p.to(z.dtype), z)
        top = higher
    mixed = mixed / tl.where(total > 0, total, 1.0)[:, None]
    if CONV:
        mixed += convolved(v + here, rows, row_stride, first, last, weight, bias, D, WIDTH, FIRST)
    store_rows(out + there, rows, width, last, end, mixed, D, WIDTH)


@triton.jit
def block_backward(
    q,
    k,
    v,
    gradient,
    dq,
    dk,
    dv,
    lengths,
    weight,
    sums,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    block,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SCALE: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
    CONV: tl.constexpr,
) -> None:
    """A whole block: dS = P ∘ (dP − rowsum(P ∘ dP)); dQ = dS K / √D, dK = dSᵀ Q / √D, dV = Pᵀ dO + Lᵀ(dO)."""
    rows, _, first, last, end = _tile(lengths, tokens, block, ROWS, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    x = load_rows(q + here, rows, row_stride, first, last, D, WIDTH)
    y = load_rows(k + here, rows, row_stride, first, last, D, WIDTH)
    z = load_rows(v + here, rows, row_stride, first, last, D, WIDTH)
    g = load_rows(gradient + there, rows, width, first, last, D, WIDTH)
    by_q = tl.zeros([ROWS, WIDTH], tl.float32)
    by_k, by_v = tl.zeros([ROWS, WIDTH], tl.float32), tl.zeros([ROWS, WIDTH], tl.float32)
    if first < last:
        score = _scores(x, y, rows, last, SCALE)
        p = tl.exp2(score - tl.max(score, 1)[:, None])
        p = p / tl.sum(p, 1)[:, None]
        by_v += product(tl.trans(p.to(g.dtype)), g)
        by_p = product(g, tl.trans(z))
        by_score = (p * (by_p - tl.sum(p * by_p, 1)[:, None]) * (SCALE * LN2)).to(x.dtype)
        by_q += product(by_score, y)
        by_k += product(tl.trans(by_score), x)
    if CONV:
        before, same, after = neighbours(gradient + there, rows, width, first, last, D, WIDTH)
        by_v += convolved_back(before, same, after, weight, D, WIDTH, FIRST)
        store_sums(sums, tap_sums(before, same, after, z), WIDTH)
    store_rows(dq + there, rows, width, last, end, by_q, D, WIDTH)
    store_rows(dk + there, rows, width, last, end, by_k, D, WIDTH)
    store_rows(dv + there, rows, width, last, end, by_v, D, WIDTH)


@triton.jit
def _row_numbers(
    x,
    g,
    k,
    v,
    stride,
    first,
    last,
    stop,
    SCALE: tl.constexpr,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
) -> tuple:
    """log₂ Σ 2^score and rowsum(P ∘ dP) of each row, over the keys from `first` to `stop`."""
    top = tl.full([ROWS], float("-inf"), tl.float32)
    total, mean = tl.zeros([ROWS], tl.float32), tl.zeros([ROWS], tl.float32)
    for key in range(first, stop, ROWS):
        keys = key + tl.arange(0, ROWS)
        y = load_rows(k, keys, stride, first, last, D, WIDTH)
        z = load_rows(v, keys, stride, first, last, D, WIDTH)
        score = _scores(x, y, keys, last, SCALE)
        higher = tl.maximum(top, tl.max(score, 1))
        p = tl.exp2(score - higher[:, None])
        shrink = tl.exp2(top - higher)
        total = total * shrink + tl.sum(p, 1)
        mean = mean * shrink + tl.sum(p * product(g, tl.trans(z)), 1)
        top = higher
    total = tl.where(total > 0, total, 1.0)
    return top + tl.log2(total), mean / total


@triton.jit
def block_backward_rows(
    q,
    k,
    v,
    gradient,
    dq,
    row_norm,
    row_mean,
    lengths,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    block,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SCALE: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
) -> None:
    """dQ of one tile of rows; leaves log₂ Σ 2^score and rowsum(P ∘ dP) of each row, in (B, heads, N)."""
    rows, start, first, last, end = _tile(lengths, tokens, block, ROWS, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    x = load_rows(q + here, rows, row_stride, first, last, D, WIDTH)
    g = load_rows(gradient + there, rows, width, first, last, D, WIDTH)
    stop = tl.where(start < last, last, first)
    norm, mean = _row_numbers(x, g, k + here, v + here, row_stride, first, last, stop, SCALE, D, WIDTH, ROWS)
    by_q = tl.zeros([ROWS, WIDTH], tl.float32)
    for key in range(first, stop, ROWS):
        keys = key + tl.arange(0, ROWS)
        y = load_rows(k + here, keys, row_stride, first, last, D, WIDTH)
        z = load_rows(v + here, keys, row_stride, first, last, D, WIDTH)
        p = tl.exp2(_scores(x, y, keys, last, SCALE) - norm[:, None])
        by_q += product((p * (product(g, tl.trans(z)) - mean[:, None]) * (SCALE * LN2)).to(y.dtype), y)
    store_rows(dq + there, rows, width, last, end, by_q, D, WIDTH)
    row = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tokens + rows
    tl.store(row_norm + row, norm, mask=rows < last)
    tl.store(row_mean + row, mean, mask=rows < last)


@triton.jit
def block_backward_columns(
    q,
    k,
    v,
    gradient,
    dk,
    dv,
    row_norm,
    row_mean,
    lengths,
    weight,
    sums,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    block,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SCALE: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
    CONV: tl.constexpr,
) -> None:
    """dK and dV of one tile of keys, from all rows of its block."""
    keys, start, first, last, end = _tile(lengths, tokens, block, ROWS, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    y = load_rows(k + here, keys, row_stride, first, last, D, WIDTH)
    z = load_rows(v + here, keys, row_stride, first, last, D, WIDTH)
    numbers = (tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)) * tokens
    by_k, by_v = tl.zeros([ROWS, WIDTH], tl.float32), tl.zeros([ROWS, WIDTH], tl.float32)
    for row in range(first, tl.where(start < last, last, first), ROWS):
        rows = row + tl.arange(0, ROWS)
        x = load_rows(q + here, rows, row_stride, first, last, D, WIDTH)
        g = load_rows(gradient + there, rows, width, first, last, D, WIDTH)
        norm = tl.load(row_norm + numbers + rows, mask=rows < last, other=0.0)
        mean = tl.load(row_mean + numbers + rows, mask=rows < last, other=0.0)
        p = tl.where((rows < last)[:, None], tl.exp2(_scores(x, y, keys, last, SCALE) - norm[:, None]), 0.0)
        by_v += product(tl.trans(p.to(g.dtype)), g)
        by_score = p * (product(g, tl.trans(z)) - mean[:, None]) * (SCALE * LN2)
        by_k += product(tl.trans(by_score.to(x.dtype)), x)
    if CONV:
        before, same, after = neighbours(gradient + there, keys, width, first, last, D, WIDTH)
        by_v += convolved_back(before, same, after, weight, D, WIDTH, FIRST)
        store_sums(sums, tap_sums(before, same, after, z), WIDTH)
    store_rows(dk + there, keys, width, last, end, by_k, D, WIDTH)
    store_rows(dv + there, keys, width, last, end, by_v, D, WIDTH)
