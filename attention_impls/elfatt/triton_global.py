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

from attention_impls.elfatt.triton_tiles import (
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
def global_partial(
    k,
    v,
    tops,
    totals,
    contexts,
    lengths,
    strides,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
) -> None:
    """One split: column maxima and sums, and unnormalised context, rescaled whenever a maximum grows."""
    begin = tl.program_id(0) * SPLIT
    last = tl.minimum(begin + SPLIT, real_tokens(lengths, tl.program_id(2), tokens))
    here, _ = places(strides, tokens, 0, D)
    top = tl.full([WIDTH], float("-inf"), tl.float32)
    total = tl.zeros([WIDTH], tl.float32)
    context = tl.zeros([WIDTH, WIDTH], tl.float32)
    for start in range(begin, last, ROWS):
        rows = start + tl.arange(0, ROWS)
        y = load_rows(k + here, rows, strides[1], begin, last, D, WIDTH).to(tl.float32)
        z = load_rows(v + here, rows, strides[1], begin, last, D, WIDTH)
        y = tl.where((rows < last)[:, None], y, float("-inf"))
        higher = tl.maximum(top, tl.max(y, 0))
        grown = tl.exp(y - higher[None, :]).to(z.dtype)
        shrink = tl.exp(top - higher)
        total = total * shrink + tl.sum(grown.to(tl.float32), 0)
        context = context * shrink[:, None] + product(tl.trans(grown), z)
        top = higher
    number = _head() * tl.num_programs(0) + tl.program_id(0)
    tl.store(tops + number * WIDTH + tl.arange(0, WIDTH), top)
    tl.store(totals + number * WIDTH + tl.arange(0, WIDTH), total)
    tl.store(_square(contexts, number, WIDTH), context)


@triton.jit
def global_combine(
    tops,
    totals,
    contexts,
    top_out,
    total_out,
    context_out,
    splits,
    WIDTH: tl.constexpr,
    FEATURES: tl.constexpr,
    SPLITS: tl.constexpr,
) -> None:
    """All splits of a few features of K; one without a real token has weight 0, a head without any context 0."""
    split = tl.arange(0, SPLITS)
    features = tl.program_id(0) * FEATURES + tl.arange(0, FEATURES)
    seen = split < splits
    places = ((_head() * splits + split) * WIDTH)[:, None] + features[None, :]
    top = tl.load(tops + places, mask=seen[:, None], other=float("-inf"))
    total = tl.load(totals + places, mask=seen[:, None], other=0.0)
    matrices = contexts + places.to(tl.int64)[:, :, None] * WIDTH + tl.arange(0, WIDTH)[None, None, :]
    context = tl.load(matrices, mask=seen[:, None, None], other=0.0)
    highest = tl.max(top, 0)
    highest = tl.where(highest == float("-inf"), 0.0, highest)
    share = tl.exp(top - highest[None, :])
    total = tl.sum(total * share, 0)
    total = tl.where(total > 0, total, 1.0)
    context = tl.sum(context * share[:, :, None], 0) / total[:, None]
    own = _head() * WIDTH + features
    tl.store(top_out + own, highest)
    tl.store(total_out + own, total)
    tl.store(context_out + own[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :], context)


@triton.jit
def global_output(
    q,
    v,
    out,
    context,
    lengths,
    weight,
    bias,
    strides,
    width,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
) -> None:
    """One tile of rows of the output."""
    start = tl.program_id(0) * ROWS
    rows = start + tl.arange(0, ROWS)
    last = real_tokens(lengths, tl.program_id(2), tokens)
    here, there = places(strides, tokens, width, D)
    mixed = tl.zeros([ROWS, WIDTH], tl.float32)
    if start < last:
        x = load_rows(q + here, rows, strides[1], 0, last, D, WIDTH)
        shares = _softmax_features(x, D, WIDTH).to(x.dtype)
        mixed += product(shares, tl.load(_square(context, _head(), WIDTH)).to(x.dtype))
        if weight is not None:
            mixed += convolved(v + here, rows, strides[1], 0, last, weight, bias, D, WIDTH)
    store_rows(out + there, rows, width, last, tokens, mixed, D, WIDTH)


@triton.jit
def global_backward_queries(
    q,
    gradient,
    dq,
    context,
    by_contexts,
    lengths,
    strides,
    width,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
) -> None:
    """One split: with A = softmax(Q) and P = dO Cᵀ, dQ = A ∘ (P − rowsum(A ∘ P)) and its part of dC = Aᵀ dO."""
    begin = tl.program_id(0) * SPLIT
    end = tl.minimum(begin + SPLIT, tokens)
    last = tl.minimum(end, real_tokens(lengths, tl.program_id(2), tokens))
    here, there = places(strides, tokens, width, D)
    mixing = tl.trans(tl.load(_square(context, _head(), WIDTH)).to(q.dtype.element_ty))
    by_context = tl.zeros([WIDTH, WIDTH], tl.float32)
    for start in range(begin, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        by_q = tl.zeros([ROWS, WIDTH], tl.float32)
        if start < last:
            x = load_rows(q + here, rows, strides[1], begin, last, D, WIDTH)
            g = load_rows(gradient + there, rows, width, begin, last, D, WIDTH)
            shares = _softmax_features(x, D, WIDTH)
            p = product(g, mixing)
            by_q += shares * (p - tl.sum(shares * p, 1)[:, None])
            by_context += product(tl.trans(shares.to(g.dtype)), g)
        store_rows(dq + there, rows, width, last, end, by_q, D, WIDTH)
    number = _head() * tl.num_programs(0) + tl.program_id(0)
    tl.store(_square(by_contexts, number, WIDTH), by_context)


@triton.jit
def _mixing(by_context, context, total, dtype: tl.constexpr, WIDTH: tl.constexpr) -> tuple:
    """dC and dC / l as operands, and rowsum(dC ∘ C) of dC as rounded: columns of dK then sum to 0 as in the formula."""
    whole = tl.load(_square(by_context, _head(), WIDTH))
    rounded = whole.to(dtype)
    mean = tl.sum(rounded.to(tl.float32) * tl.load(_square(context, _head(), WIDTH)), 1)
    return rounded, (whole / total[:, None]).to(dtype), mean


@triton.jit
def global_backward_keys(
    k,
    v,
    gradient,
    dk,
    dv,
    tops,
    totals,
    context,
    by_context,
    lengths,
    weight,
    sums,
    strides,
    width,
    tokens,
    D: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
    SPLIT: tl.constexpr,
) -> None:
    """One split: with A = softmax(K), dK = A ∘ (V dCᵀ − 1·rowsum(dC ∘ C)ᵀ) and dV = A dC + Lᵀ(dO)."""
    begin = tl.program_id(0) * SPLIT
    end = tl.minimum(begin + SPLIT, tokens)
    length = real_tokens(lengths, tl.program_id(2), tokens)
    here, there = places(strides, tokens, width, D)
    features = _head() * WIDTH + tl.arange(0, WIDTH)
    top, total = tl.load(tops + features), tl.load(totals + features)
    mixing, shared, mean = _mixing(by_context, context, total, v.dtype.element_ty, WIDTH)
    left, middle = tl.zeros([WIDTH], tl.float32), tl.zeros([WIDTH], tl.float32)
    right, shift = tl.zeros([WIDTH], tl.float32), tl.zeros([WIDTH], tl.float32)
    for start in range(begin, end, ROWS):
        rows = start + tl.arange(0, ROWS)
        by_k, by_v = tl.zeros([ROWS, WIDTH], tl.float32), tl.zeros([ROWS, WIDTH], tl.float32)
        if start < length:
            y = load_rows(k + here, rows, strides[1], begin, length, D, WIDTH).to(tl.float32)
            z = load_rows(v + here, rows, strides[1], begin, length, D, WIDTH)
            y = tl.where((rows < length)[:, None], y, float("-inf"))
            grown = tl.exp(y - top[None, :]).to(z.dtype)
            by_k += grown.to(tl.float32) / total[None, :] * (product(z, tl.trans(mixing)) - mean[None, :])
            by_v += product(grown, shared)
            if weight is not None:
                before, same, after = neighbours(gradient + there, rows, width, 0, length, D, WIDTH)
                by_v += convolved_back(before, same, after, weight, D, WIDTH)
                more = tap_sums(before, same, after, z)
                left, middle, right, shift = left + more[0], middle + more[1], right + more[2], shift + more[3]
        store_rows(dk + there, rows, width, length, end, by_k, D, WIDTH)
        store_rows(dv + there, rows, width, length, end, by_v, D, WIDTH)
    if weight is not None:
        store_sums(sums, left, middle, right, shift, WIDTH)
