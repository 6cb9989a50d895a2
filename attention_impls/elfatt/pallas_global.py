"""Global heads of ELFATT in Pallas: softmax over features of Q times (softmax over tokens of K, transposed, times V).

Traffic, in tensors of one head: `context` reads k, v. `forward` reads q, v and writes o. `backward_queries` reads q, do
and writes dq. `backward_keys` reads k, v, do and writes dk, dv. Each program sums over the tokens of one split of the
sequence. The sums, (D, D), are added outside. Padding is skipped, its rows are written as zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
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
    own_spec,
    softmax,
    store_rows,
    zeros,
)


class Context(NamedTuple):
    """What the backward pass keeps of K and V: with softmax_tokens(K) = exp(K − top) / total, their context."""

    top: Float[Array, "B h D"]
    total: Float[Array, "B h D"]
    product: Float[Array, "B h D D"]


def context(plan: TilePlan, k: Array, v: Array, lengths: Array) -> Context:
    """softmax_tokens(K)ᵀ V and the statistics of that softmax, in float32."""
    size, spec = plan.head_dim, plan.tokens_spec(0)
    results = [(_partial(plan, 2, size), own_spec(2, size)), (_partial(plan, size, size), own_spec(size, size))]
    statistics, products = launch(
        _context, plan, (plan.splits, plan.split, plan.batch), [(k, spec), (v, spec), (lengths, LENGTH_SPEC)], results
    )
    tops, totals = statistics[..., 0, :], statistics[..., 1, :]
    top = tops.max(2)
    fade = jnp.exp(tops - top[:, :, None])
    total = (fade * totals).sum(2)
    total = jnp.where(total > 0, total, 1)  # an empty example
    return Context(top, total, (fade[..., None] * products).sum(2) / total[..., None])


def forward(plan: TilePlan, q: Array, v: Array, conv: Conv, lengths: Array, found: Context, out: Any) -> Array:
    """`out` (B, N, H, D), an array or its shape, with the global heads written."""
    spec, size = plan.tokens_spec(0), plan.head_dim
    given = [(q, spec), (v, spec), (conv, plan.conv_spec(0, conv)), (lengths, LENGTH_SPEC)]
    given.append((found.product.astype(q.dtype), head_spec(size, size)))
    [out] = launch(_forward, plan, (plan.bands, plan.split, plan.batch), given, [(out, spec)])
    return out


def backward(
    plan: TilePlan,
    q: Array,
    k: Array,
    v: Array,
    conv: Conv,
    lengths: Array,
    found: Context,
    do: Array,
    grads: Sequence[Any],
) -> tuple[list[Array], Array | None]:
    """dq, dk, dv (`grads`, arrays or their shapes, with the global heads written) and dw₀, dw₁, dw₂, dβ (h, 4, D).

    The softmax of K subtracts colsum(φ(K) ⊙ G), G = V dctxᵀ, from G. That sum is rowsum(dctx ⊙ ctx): no pass over N.
    """
    spec, size = plan.tokens_spec(0), plan.head_dim
    square, row = head_spec(size, size), head_spec(size)
    dq, dk, dv = ((grad, spec) for grad in grads)
    shared = [(lengths, LENGTH_SPEC), (do, spec)]
    by_query, partial = launch(
        _backward_queries,
        plan,
        (plan.splits, plan.split, plan.batch),
        [(q, spec), *shared, (found.product.astype(q.dtype), square)],
        [dq, (_partial(plan, size, size), own_spec(size, size))],
    )
    # Rounded before the correction is taken from it, so that both sides of the difference round alike.
    pulled = partial.sum(2).astype(k.dtype)
    mean = (pulled.astype(jnp.float32) * found.product).sum(-1)
    given = [(k, spec), (v, spec), (conv, plan.conv_spec(0, conv)), *shared]
    given += [(pulled, square), (mean, row), (found.top, row), (found.total, row)]
    grid = (plan.bands, plan.split, plan.batch)
    results = launch(_backward_keys, plan, grid, given, [dk, dv, *conv_sums(plan, conv, *grid[:2])])
    return [by_query, *results[:2]], added(results[2:])


def _partial(plan: TilePlan, *shape: int) -> jax.ShapeDtypeStruct:
    """What every split leaves behind."""
    return jax.ShapeDtypeStruct((plan.batch, plan.split, plan.splits, *shape), jnp.float32)


def _over(
    plan: TilePlan, length: Array, body: Callable[[Any, Int[Array, " T"], Bool[Array, " T"], Any], Any], carry: Any
) -> Any:
    """carry = body(start, rows, which are real, carry) for each tile of this program's split that has real rows."""
    first = pl.program_id(0) * plan.steps * plan.band

    def step(i: Any, carry: Any) -> Any:
        start = first + i * plan.band
        rows = start + jnp.arange(plan.band, dtype=jnp.int32)
        return body(start, rows, rows < length, carry)

    tiles = jnp.clip(pl.cdiv(length - first, plan.band), 0, plan.steps)
    return jax.lax.fori_loop(0, tiles, step, carry)


def _context(plan: TilePlan, k: Ref, v: Ref, length: Ref, statistics: Ref, products: Ref) -> None:
    """Maximum and sum of exp(K) by feature, and exp(K)ᵀ V, over one split."""

    def body(start: Any, rows: Array, real: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        top, total, sums = carry
        key = jnp.where(real[:, None], load_rows(k, rows, real).astype(jnp.float32), LOWEST)
        higher = jnp.maximum(top, key.max(0))
        weights, fade = jnp.exp(key - higher[None]), jnp.exp(top - higher)
        product = dot(plan, weights.astype(v.dtype), load_rows(v, rows, real), (0, 0))
        return higher, fade * total + weights.sum(0), fade[:, None] * sums + product

    start = (zeros(plan.head_dim) + LOWEST, zeros(plan.head_dim), zeros(plan.head_dim, plan.head_dim))
    statistics[0, :], statistics[1, :], products[...] = _over(plan, length[...], body, start)


def _forward(plan: TilePlan, q: Ref, v: Ref, conv: Sequence[Ref], length: Ref, product: Ref, out: Ref) -> None:
    """softmax_features(Q) ctx + L(V) of one tile of rows."""
    start = pl.program_id(0) * plan.band
    rows = start + jnp.arange(plan.band, dtype=jnp.int32)
    real, inside = rows < length[...], rows < plan.tokens

    @pl.when(start >= length[...])
    def _() -> None:
        store_rows(out, start, zeros(plan.band, plan.head_dim), inside)

    @pl.when(start < length[...])
    def _() -> None:
        found = dot(plan, softmax(load_rows(q, rows, real)).astype(q.dtype), product[...])
        if conv:
            found = found + convolve(conv, v, rows, 0, length[...])
        store_rows(out, start, jnp.where(real[:, None], found, 0), inside)


def _backward_queries(plan: TilePlan, q: Ref, length: Ref, do: Ref, product: Ref, dq: Ref, partial: Ref) -> None:
    """dQ = φ ⊙ (P − rowsum(φ ⊙ P)), P = dO ctxᵀ, φ = softmax_features(Q), and φᵀ dO over one split."""
    first, end = pl.program_id(0) * plan.steps, jnp.minimum(plan.bands, (pl.program_id(0) + 1) * plan.steps)

    def body(start: Any, rows: Array, real: Array, sums: Array) -> Array:
        query, cotangent = softmax(load_rows(q, rows, real)), load_rows(do, rows, real)
        pulled = dot(plan, cotangent, product[...], (1, 1))
        change = query * (pulled - (query * pulled).sum(1)[:, None])
        store_rows(dq, start, jnp.where(real[:, None], change, 0), rows < plan.tokens)
        return sums + dot(plan, query.astype(q.dtype), cotangent, (0, 0))

    partial[...] = _over(plan, length[...], body, zeros(*partial.shape))

    def clear(i: Any, carry: Any) -> Any:
        rows = i * plan.band + jnp.arange(plan.band, dtype=jnp.int32)
        store_rows(dq, i * plan.band, zeros(plan.band, plan.head_dim), rows < plan.tokens)
        return carry

    jax.lax.fori_loop(jnp.maximum(first, pl.cdiv(length[...], plan.band)), end, clear, 0)


def _backward_keys(
    plan: TilePlan,
    k: Ref,
    v: Ref,
    conv: Sequence[Ref],
    length: Ref,
    do: Ref,
    pulled: Ref,
    mean: Ref,
    top: Ref,
    total: Ref,
    dk: Ref,
    dv: Ref,
    *sums: Ref,
) -> None:
    """dK = φ ⊙ (G − mean), G = V dctxᵀ, φ = softmax_tokens(K), and dV = φ dctx + Lᵀ(dO) of one tile of rows."""
    start = pl.program_id(0) * plan.band
    rows = start + jnp.arange(plan.band, dtype=jnp.int32)
    real, inside = rows < length[...], rows < plan.tokens

    @pl.when(start >= length[...])
    def _() -> None:
        for ref in (dk, dv):
            store_rows(ref, start, zeros(plan.band, plan.head_dim), inside)
        clear_sums(sums)

    @pl.when(start < length[...])
    def _() -> None:
        key, value = load_rows(k, rows, real).astype(jnp.float32), load_rows(v, rows, real)
        weights = jnp.where(real[:, None], jnp.exp(key - top[...][None]) / total[...][None], 0)
        store_rows(dk, start, weights * (dot(plan, value, pulled[...], (1, 1)) - mean[...][None]), inside)
        change = dot(plan, weights.astype(k.dtype), pulled[...])
        if conv:
            change = change + convolve_back(conv, neighbours(do, rows, 0, length[...]), value, sums[0])
        store_rows(dv, start, jnp.where(real[:, None], change, 0), inside)
