"""Block heads of ELFATT in Pallas: softmax attention inside each block, the convolution of V within its borders.

Traffic, in tensors of one head: forward reads q, k, v and writes o. If a block is one tile, backward reads q, k, v, do
and writes dq, dk, dv, each once. Scores are recomputed in the backward pass; neither they, their sums nor o are kept. A
block of several tiles is cut by rows of q, then in the backward pass once more by rows of k.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Bool, Float, Int

from attention_impls.elfatt.pallas_tiles import (
    LENGTH_SPEC,
    LOWEST,
    Conv,
    Ref,
    TilePlan,
    added,
    clear_sums,
    conv_sums,
    convolve,
    convolve_back,
    dot,
    head_spec,
    launch,
    load_rows,
    neighbours,
    store_rows,
    zeros,
)

Tile = Float[Array, "T D"]
Scores = Float[Array, "T M"]
Column = Float[Array, " T"]


def forward(plan: TilePlan, q: Array, k: Array, v: Array, conv: Conv, lengths: Array, out: Any) -> Array:
    """`out` (B, N, H, D), an array or its shape, with the block heads written."""
    [out] = launch(_forward, plan, _grid(plan), _given(plan, q, k, v, conv, lengths), [(out, _spec(plan))])
    return out


def backward(
    plan: TilePlan, q: Array, k: Array, v: Array, conv: Conv, lengths: Array, do: Array, grads: Sequence[Any]
) -> tuple[list[Array], Array | None]:
    """dq, dk, dv (`grads`, arrays or their shapes, with the block heads written) and dw₀, dw₁, dw₂, dβ (h, 4, D)."""
    given = [*_given(plan, q, k, v, conv, lengths), (do, _spec(plan))]
    dq, dk, dv = ((grad, _spec(plan)) for grad in grads)
    sums = conv_sums(plan, conv, *_grid(plan)[:2])
    if plan.parts == 1:
        found = launch(_backward, plan, _grid(plan), given, [dq, dk, dv, *sums])
        return found[:3], added(found[3:])
    shape = jax.ShapeDtypeStruct((plan.batch, plan.heads - plan.split, plan.tokens), jnp.float32)
    columns = [head_spec(plan.tokens)] * 3
    found, *kept = launch(_backward_queries, plan, _grid(plan), given, [dq, *((shape, spec) for spec in columns)])
    given += zip(kept, columns, strict=True)
    others = launch(_backward_keys, plan, _grid(plan), given, [dk, dv, *sums])
    return [found, *others[:2]], added(others[2:])


def _grid(plan: TilePlan) -> tuple[int, int, int]:
    return plan.blocks * plan.parts, plan.heads - plan.split, plan.batch


def _spec(plan: TilePlan) -> pl.BlockSpec:
    return plan.tokens_spec(plan.split)


def _given(plan: TilePlan, q: Array, k: Array, v: Array, conv: Conv, lengths: Array) -> list[tuple[Any, Any]]:
    spec = _spec(plan)
    return [(q, spec), (k, spec), (v, spec), (conv, plan.conv_spec(plan.split, conv)), (lengths, LENGTH_SPEC)]


class BlockPlace:
    """Where a program's tile lies: its block holds rows first … border − 1, of which those before `end` are real."""

    def __init__(self, plan: TilePlan, length: Ref) -> None:
        block, part = pl.program_id(0) // plan.parts, pl.program_id(0) % plan.parts
        self.plan = plan
        self.first = block * plan.block
        self.border = jnp.minimum(self.first + plan.block, plan.tokens)
        self.end = jnp.minimum(self.border, length[...])
        self.start = self.first + part * plan.tile
        self.rows = self.start + jnp.arange(plan.tile, dtype=jnp.int32)
        self.real = self.rows < self.end

    def load(self, ref: Ref) -> Tile:
        """The tile's rows of an array, with zeros at rows that are not real."""
        return load_rows(ref, self.rows, self.real)

    def store(self, ref: Ref, values: Tile) -> None:
        """Write the tile's rows of an array, with zeros at rows that are not real."""
        store_rows(ref, self.start, jnp.where(self.real[:, None], values, 0), self.rows < self.border)

    def clear(self, *refs: Ref) -> None:
        """Write zeros into the tile's rows of arrays."""
        for ref in refs:
            store_rows(ref, self.start, zeros(self.plan.tile, self.plan.head_dim), self.rows < self.border)

    def over(self, body: Callable[[Int[Array, " M"], Bool[Array, " M"], Any], Any], carry: Any) -> Any:
        """carry = body(rows, which of them are real, carry) for each tile of the block that has real rows."""

        def step(part: Any, carry: Any) -> Any:
            rows = self.first + part * self.plan.tile + jnp.arange(self.plan.tile, dtype=jnp.int32)
            return body(rows, rows < self.end, carry)

        if self.plan.parts == 1:
            return step(0, carry)
        return jax.lax.fori_loop(0, pl.cdiv(self.end - self.first, self.plan.tile), step, carry)


def _scores(plan: TilePlan, q: Tile, k: Tile, seen: Bool[Array, " M"]) -> Scores:
    """q kᵀ / √D, the lowest number at keys that are not real."""
    return jnp.where(seen[None], dot(plan, q, k, (1, 1)) / math.sqrt(q.shape[1]), LOWEST)


def _forward(plan: TilePlan, q: Ref, k: Ref, v: Ref, conv: Sequence[Ref], length: Ref, out: Ref) -> None:
    """O of one tile of rows, with a running maximum and sum over the tiles of keys."""
    place = BlockPlace(plan, length)

    @pl.when(place.start >= place.end)
    def _() -> None:
        place.clear(out)

    @pl.when(place.start < place.end)
    def _() -> None:
        query = place.load(q)

        def body(rows: Array, seen: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            top, total, sums = carry
            scores = _scores(plan, query, load_rows(k, rows, seen), seen)
            higher = jnp.maximum(top, scores.max(1))
            weights, fade = jnp.exp(scores - higher[:, None]), jnp.exp(top - higher)
            added = dot(plan, weights.astype(v.dtype), load_rows(v, rows, seen))
            return higher, fade * total + weights.sum(1), fade[:, None] * sums + added

        start = (zeros(plan.tile) + LOWEST, zeros(plan.tile), zeros(plan.tile, plan.head_dim))
        _, total, sums = place.over(body, start)
        found = sums / total[:, None]
        place.store(out, found + convolve(conv, v, place.rows, place.first, place.end) if conv else found)


def _softmax_back(weights: Scores, pulled: Scores, mean: Column, q: Tile) -> Scores:
    """dS = P ⊙ (dP − rowsum(P ⊙ dP)) / √D, from P, dP and that sum; in the dtype of q, for the next products."""
    return (weights * (pulled - mean[:, None]) / math.sqrt(q.shape[1])).astype(q.dtype)


def _conv_back(place: BlockPlace, conv: Sequence[Ref], do: Ref, v: Tile, sums: Sequence[Ref]) -> Tile | float:
    """What the convolution adds to dV, if it is on."""
    if not conv:
        return 0.0
    return convolve_back(conv, neighbours(do, place.rows, place.first, place.end), v, sums[0])


def _backward(
    plan: TilePlan,
    q: Ref,
    k: Ref,
    v: Ref,
    conv: Sequence[Ref],
    length: Ref,
    do: Ref,
    dq: Ref,
    dk: Ref,
    dv: Ref,
    *sums: Ref,
) -> None:
    """All gradients of a block that is one tile. Rows that are not real have dO = 0, and so no part in any sum."""
    place = BlockPlace(plan, length)

    @pl.when(place.start >= place.end)
    def _() -> None:
        place.clear(dq, dk, dv)
        clear_sums(sums)

    @pl.when(place.start < place.end)
    def _() -> None:
        query, key, value, cotangent = (place.load(ref) for ref in (q, k, v, do))
        scores = _scores(plan, query, key, place.real)
        weights = jnp.exp(scores - scores.max(1)[:, None])
        weights = weights / weights.sum(1)[:, None]
        pulled = dot(plan, cotangent, value, (1, 1))
        change = _softmax_back(weights, pulled, (weights * pulled).sum(1), query)
        place.store(dq, dot(plan, change, key))
        place.store(dk, dot(plan, change, query, (0, 0)))
        by_value = dot(plan, weights.astype(value.dtype), cotangent, (0, 0))
        place.store(dv, by_value + _conv_back(place, conv, do, value, sums))


def _backward_queries(
    plan: TilePlan,
    q: Ref,
    k: Ref,
    v: Ref,
    conv: Sequence[Ref],
    length: Ref,
    do: Ref,
    dq: Ref,
    tops: Ref,
    totals: Ref,
    means: Ref,
) -> None:
    """dQ of one tile of rows; the maximum and sum of each row of exp(S) and rowsum(P ⊙ dP) for the other pass."""
    place = BlockPlace(plan, length)

    @pl.when(place.start >= place.end)
    def _() -> None:
        place.clear(dq)

    @pl.when(place.start < place.end)
    def _() -> None:
        query, cotangent = place.load(q), place.load(do)

        def sums(rows: Array, seen: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            top, total, mean = carry
            scores = _scores(plan, query, load_rows(k, rows, seen), seen)
            higher = jnp.maximum(top, scores.max(1))
            weights, fade = jnp.exp(scores - higher[:, None]), jnp.exp(top - higher)
            pulled = dot(plan, cotangent, load_rows(v, rows, seen), (1, 1))
            return higher, fade * total + weights.sum(1), fade * mean + (weights * pulled).sum(1)

        none = zeros(plan.tile)
        top, total, mean = place.over(sums, (none + LOWEST, none, none))
        mean = mean / total

        def body(rows: Array, seen: Array, added: Array) -> Array:
            key = load_rows(k, rows, seen)
            weights = jnp.exp(_scores(plan, query, key, seen) - top[:, None]) / total[:, None]
            pulled = dot(plan, cotangent, load_rows(v, rows, seen), (1, 1))
            return added + dot(plan, _softmax_back(weights, pulled, mean, query), key)

        place.store(dq, place.over(body, zeros(plan.tile, plan.head_dim)))
        for ref, column in ((tops, top), (totals, total), (means, mean)):
            plgpu.store(ref.at[pl.ds(place.start, plan.tile)], column, mask=place.real)


def _backward_keys(
    plan: TilePlan,
    q: Ref,
    k: Ref,
    v: Ref,
    conv: Sequence[Ref],
    length: Ref,
    do: Ref,
    tops: Ref,
    totals: Ref,
    means: Ref,
    dk: Ref,
    dv: Ref,
    *sums: Ref,
) -> None:
    """dK and dV of one tile of rows, over all rows of queries of its block."""
    place = BlockPlace(plan, length)

    @pl.when(place.start >= place.end)
    def _() -> None:
        place.clear(dk, dv)
        clear_sums(sums)

    @pl.when(place.start < place.end)
    def _() -> None:
        key, value = place.load(k), place.load(v)

        def body(rows: Array, seen: Array, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            query, cotangent = load_rows(q, rows, seen), load_rows(do, rows, seen)
            top, total, mean = (_column(ref, rows, seen) for ref in (tops, totals, means))
            weights = jnp.exp(_scores(plan, query, key, place.real) - top[:, None]) / total[:, None]
            change = _softmax_back(weights, dot(plan, cotangent, value, (1, 1)), mean, query)
            by_value = dot(plan, weights.astype(value.dtype), cotangent, (0, 0))
            return carry[0] + dot(plan, change, query, (0, 0)), carry[1] + by_value

        by_key, by_value = place.over(body, (zeros(plan.tile, plan.head_dim),) * 2)
        place.store(dk, by_key)
        place.store(dv, by_value + _conv_back(place, conv, do, value, sums))


def _column(ref: Ref, rows: Int[Array, " M"], seen: Bool[Array, " M"]) -> Float[Array, " M"]:
    """A statistic of some rows; ones where `seen` is false, since the total of a row is a divisor."""
    return plgpu.load(ref.at[jnp.clip(rows, 0, ref.shape[0] - 1)], mask=seen, other=1.0)
