"""Triton kernels of ELFATT's global heads: O = softmax_features(Q) (softmax_tokens(K)ᵀ V) + L(V).

The length is cut into splits, so that few heads fill a GPU too; each split leaves D numbers or a D × D matrix in
float32, and a second kernel or a plain sum adds them up in a fixed order. What each kernel reads and writes of tensors
of one head's size:

    global_partial           k, v       ->             column maxima and sums of exp(K − m), and exp(K − m)ᵀ V
    global_combine                      ->             the same of all splits: m, l and C = softmax_tokens(K)ᵀ V
    global_output            q, v       -> out
    global_backward_queries  q, dO      -> dq          and dC = softmax_features(Q)ᵀ dO of each split
    global_backward_keys     k, v, dO   -> dk, dv

exp(K − m) is rounded to the operands' dtype before it is summed, so the weights of C sum to one exactly as they are
multiplied, and the backward pass multiplies and sums the same rounded numbers. Statistics are float32.
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
    no_sums,
    places,
    product,
    real_tokens,
    store_rows,
    store_sums,
    tap_sums,
)


@triton.jit
def _head() -> tl.tensor:
    """The number of this program's head among those of all examples."""
    return tl.program_id(2) * tl.num_programs(1) + tl.program_id(1)


@triton.jit
def _square(pointer, number, WIDTH: tl.constexpr) -> tl.tensor:
    """Pointers to the number-th of many (WIDTH, WIDTH) matrices."""
    features = tl.arange(0, WIDTH)
    return pointer + (number.to(tl.int64) * WIDTH + features[:, None]) * WIDTH + features[None, :]


@triton.jit
def _softmax_features(x, D: tl.constexpr, WIDTH: tl.constexpr) -> tl.tensor:
    """The softmax of each row over its D features, float32."""
    x = tl.where((tl.arange(0, WIDTH) < D)[None, :], x.to(tl.float32), float("-inf"))
    grown = tl.exp(x - tl.max(x, 1)[:, None])
    return grown / tl.sum(grown, 1)[:, None]


@triton.jit
def _split(lengths, tokens, SPLIT: tl.constexpr, RAGGED: tl.constexpr) -> tuple:
    """This program's split: its first token, its end, and the end of its real tokens."""
    begin = tl.program_id(0) * SPLIT
    end = tl.minimum(begin + SPLIT, tokens)
    return begin, end, tl.minimum(end, real_tokens(lengths, tokens, RAGGED))


@triton.jit
def _load_keys(k, rows, stride, first, last, D: tl.constexpr, WIDTH: tl.constexpr) -> tl.tensor:
    """Rows of K in float32, −∞ at padding."""
    found = load_rows(k, rows, stride, first, last, D, WIDTH).to(tl.float32)
    return tl.where((rows < last)[:, None], found, float("-inf"))


@triton.jit
def global_partial(
    k,
    v,
    tops,
    totals,
    contexts,
    lengths,
    batch_stride,
    row_stride,
    head_stride,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
) -> None:
    """One split: column maxima and sums, and unnormalised context, rescaled whenever a maximum grows."""
    begin, _, last = _split(lengths, tokens, SPLIT, RAGGED)
    here, _ = places(batch_stride, head_stride, tokens, 0, D, FIRST)
    peak = tl.full([WIDTH], float("-inf"), tl.float32)
    amount = tl.zeros([WIDTH], tl.float32)
    matrix = tl.zeros([WIDTH, WIDTH], tl.float32)
    for start in range(begin, last, ROWS):
        rows = start + tl.arange(0, ROWS)
        y = _load_keys(k + here, rows, row_stride, begin, last, D, WIDTH)
        z = load_rows(v + here, rows, row_stride, begin, last, D, WIDTH)
        higher = tl.maximum(peak, tl.max(y, 0))
        grown = tl.exp(y - higher[None, :]).to(z.dtype)
        shrink = tl.exp(peak - higher)
        amount = amount * shrink + tl.sum(grown.to(tl.float32), 0)
        matrix = matrix * shrink[:, None] + product(tl.trans(grown), z)
        peak = higher
    number = _head() * tl.num_programs(0) + tl.program_id(0)
    tl.store(tops + number * WIDTH + tl.arange(0, WIDTH), peak)
    tl.store(totals + number * WIDTH + tl.arange(0, WIDTH), amount)
    tl.store(_square(contexts, number, WIDTH), matrix)


@triton.jit
def global_combine(
    tops,
    totals,
    contexts,
    top,
    total,
    context,
    splits,
    WIDTH: tl.constexpr,
    FEATURES: tl.constexpr,
    SPLITS: tl.constexpr,
) -> None:
    """All splits of a few features of K; one without a real token has weight 0, a head without any context 0."""
    split = tl.arange(0, SPLITS)
    features = tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)
    seen = split < splits
    numbers = ((_head() * splits + split) * WIDTH)[:, None] + features[None, :]
    peaks = tl.load(tops + numbers, mask=seen[:, None], other=float("-inf"))
    amounts = tl.load(totals + numbers, mask=seen[:, None], other=0.0)
    pointers = contexts + numbers.to(tl.int64)[:, :, None] * WIDTH + tl.arange(0, WIDTH)[None, None, :]
    matrices = tl.load(pointers, mask=seen[:, None, None], other=0.0)
    highest = tl.max(peaks, 0)
    highest = tl.where(highest == float("-inf"), 0.0, highest)
    share = tl.exp(peaks - highest[None, :])
    amount = tl.sum(amounts * share, 0)
    amount = tl.where(amount > 0, amount, 1.0)
    matrix = tl.sum(matrices * share[:, :, None], 0) / amount[:, None]
    own = _head() * WIDTH + features
    tl.store(top + own, highest)
    tl.store(total + own, amount)
    tl.store(context + own[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :], matrix)


@triton.jit
def global_output(
    q,
    v,
    out,
    context,
    lengths,
    weight,
    bias,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
    CONV: tl.constexpr,
) -> None:
    """One tile of rows of the output."""
    start = tl.program_id(0) * ROWS
    rows = start + tl.arange(0, ROWS)
    last = real_tokens(lengths, tokens, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    mixed = tl.zeros([ROWS, WIDTH], tl.float32)
    if start < last:
        x = load_rows(q + here, rows, row_stride, 0, last, D, WIDTH)
        shares = _softmax_features(x, D, WIDTH).to(x.dtype)
        mixed += product(shares, tl.load(_square(context, _head(), WIDTH)).to(x.dtype))
        if CONV:
            mixed += convolved(v + here, rows, row_stride, 0, last, weight, bias, D, WIDTH, FIRST)
    store_rows(out + there, rows, width, last, tokens, mixed, D, WIDTH)


@triton.jit
def global_backward_queries(
    q,
    gradient,
    dq,
    context,
    by_contexts,
    lengths,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
) -> None:
    """One split: with A = softmax(Q) and P = dO Cᵀ, dQ = A ∘ (P − rowsum(A ∘ P)) and its part of dC = Aᵀ dO."""
    begin, end, last = _split(lengths, tokens, SPLIT, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    mixing = tl.trans(tl.load(_square(context, _head(), WIDTH)).to(q.dtype.element_ty))
    by_context = tl.zeros([WIDTH, WIDTH], tl.float32)
    for start in range(begin, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        by_q = tl.zeros([ROWS, WIDTH], tl.float32)
        if start < last:
            x = load_rows(q + here, rows, row_stride, begin, last, D, WIDTH)
            g = load_rows(gradient + there, rows, width, begin, last, D, WIDTH)
            shares = _softmax_features(x, D, WIDTH)
            p = product(g, mixing)
            by_q += shares * (p - tl.sum(shares * p, 1)[:, None])
            by_context += product(tl.trans(shares.to(g.dtype)), g)
        store_rows(dq + there, rows, width, last, end, by_q, D, WIDTH)
    number = _head() * tl.num_programs(0) + tl.program_id(0)
    tl.store(_square(by_contexts, number, WIDTH), by_context)


@triton.jit
def _mixing(top, total, context, by_context, dtype: tl.constexpr, WIDTH: tl.constexpr) -> tuple:
    """m, l, dC and dC / l as operands, and rowsum(dC ∘ C) of dC as rounded: dK's columns then sum to 0."""
    features = _head() * WIDTH + tl.arange(0, WIDTH)
    peak, amount = tl.load(top + features), tl.load(total + features)
    whole = tl.load(_square(by_context, _head(), WIDTH))
    rounded = whole.to(dtype)
    mean = tl.sum(rounded.to(tl.float32) * tl.load(_square(context, _head(), WIDTH)), 1)
    return peak, amount, rounded, (whole / amount[:, None]).to(dtype), mean


@triton.jit
def global_backward_keys(
    k,
    v,
    gradient,
    dk,
    dv,
    top,
    total,
    context,
    by_context,
    lengths,
    weight,
    sums,
    batch_stride,
    row_stride,
    head_stride,
    width,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
    FIRST: tl.constexpr,
    RAGGED: tl.constexpr,
    CONV: tl.constexpr,
) -> None:
    """One split: with A = softmax(K), dK = A ∘ (V dCᵀ − 1·rowsum(dC ∘ C)ᵀ) and dV = A dC + Lᵀ(dO)."""
    begin, end, _ = _split(lengths, tokens, SPLIT, RAGGED)
    here, there = places(batch_stride, head_stride, tokens, width, D, FIRST)
    length = real_tokens(lengths, tokens, RAGGED)
    peak, amount, mixing, shared, mean = _mixing(top, total, context, by_context, v.dtype.element_ty, WIDTH)
    left, middle, right, shift = no_sums(WIDTH)
    for start in range(begin, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        by_k, by_v = tl.zeros([ROWS, WIDTH], tl.float32), tl.zeros([ROWS, WIDTH], tl.float32)
        if start < length:
            y = _load_keys(k + here, rows, row_stride, begin, length, D, WIDTH)
            z = load_rows(v + here, rows, row_stride, begin, length, D, WIDTH)
            grown = tl.exp(y - peak[None, :]).to(z.dtype)
            by_k += grown.to(tl.float32) / amount[None, :] * (product(z, tl.trans(mixing)) - mean[None, :])
            by_v += product(grown, shared)
            if CONV:
                before, same, after = neighbours(gradient + there, rows, width, 0, length, D, WIDTH)
                by_v += convolved_back(before, same, after, weight, D, WIDTH, FIRST)
                more = tap_sums(before, same, after, z)
                left, middle, right, shift = left + more[0], middle + more[1], right + more[2], shift + more[3]
        store_rows(dk + there, rows, width, length, end, by_k, D, WIDTH)
        store_rows(dv + there, rows, width, length, end, by_v, D, WIDTH)
    if CONV:
        store_sums(sums, (left, middle, right, shift), WIDTH)
