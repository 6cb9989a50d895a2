"""BigBird attention in JAX. Heads are folded into the batch, since each has random blocks of its own."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from attention_impls.base import Layer
from attention_impls.bigbird import TABLE, Options
from attention_impls.ops.blocks_jax import block_attention, from_blocks, real_blocks, take_blocks, to_blocks


def attend(
    q: Float[Array, "B N H D"], k: Float[Array, "B N H D"], v: Float[Array, "B N H D"], layer: Layer[Options]
) -> Float[Array, "B N H D"]:
    batch, tokens, heads = q.shape[:3]
    size = min(layer.options.block_size, tokens)
    q, k, v = (to_blocks(x.swapaxes(1, 2).reshape(batch * heads, tokens, 1, -1), size) for x in (q, k, v))
    exists = real_blocks(layer.real, tokens, size)
    exists = jnp.repeat(jnp.broadcast_to(exists, (batch, *exists.shape[1:])), heads, 0)
    counts = jnp.maximum(exists.any(2).sum(1), 1)
    table = jnp.tile(layer.constants[TABLE][:, : q.shape[1]], (batch, 1, 1)) if TABLE in layer.constants else None
    out = _with_global_rows(_ordinary(q, k, v, exists, counts, table), q, k, v, exists, counts)
    out = from_blocks(out, tokens).reshape(batch, heads, tokens, -1).swapaxes(1, 2)
    return out


def _ordinary(
    q: Float[Array, "B n b 1 D"],
    k: Float[Array, "B n b 1 D"],
    v: Float[Array, "B n b 1 D"],
    exists: Bool[Array, "B n b"],
    counts: Int[Array, " B"],
    table: Float[Array, "B n r"] | None,
) -> Float[Array, "B n b 1 D"]:
    """Each block with the blocks that it sees; the rows of the first and the last block mean nothing."""
    count, size = q.shape[1:3]
    here, last = jnp.arange(count), counts[:, None] - 1
    seen = [(0 * here, True), (last, True), (here - 1, here > 1), (here, True), (here + 1, here + 1 < last)]
    if table is not None:
        seen += [(block, block > 0) for block in random_blocks(table, here, last)]
    index, allowed = (jnp.stack([jnp.broadcast_to(part[side], (len(q), count)) for part in seen], 2) for side in (0, 1))
    index = index.clip(0, count - 1)
    visible = take_blocks(exists, index) & jnp.repeat(allowed, size, 2)
    return block_attention(q, take_blocks(k, index), take_blocks(v, index), visible[:, :, None])


def random_blocks(
    table: Float[Array, "B n r"], here: Int[Array, " n"], last: Int[Array, "B 1"]
) -> list[Int[Array, "B n"]]:
    """r different blocks for each, or as many as there are that it does not see anyway; 0 in place of the others.

    Floyd's sampling: step t draws one of the first free − r + t + 1 free blocks, and takes the last of these instead
    where the drawn one was taken before.
    """
    low, high = jnp.maximum(here - 1, 1), jnp.minimum(here + 1, last - 1)
    taken = high - low + 1
    free, chosen = last - 1 - taken, []
    uniform = table.astype(jnp.promote_types(table.dtype, jnp.float32))
    for t in range(table.shape[2]):
        top = free - table.shape[2] + t
        drawn = jnp.minimum(jnp.floor(uniform[:, :, t] * (top + 1)).astype(top.dtype), top)
        for before in chosen:
            drawn = jnp.where(drawn == before, top, drawn)
        chosen.append(drawn)
    return [jnp.where(drawn < 0, 0, 1 + drawn + taken * (1 + drawn >= low)) for drawn in chosen]


def _with_global_rows(
    out: Float[Array, "B n b 1 D"],
    q: Float[Array, "B n b 1 D"],
    k: Float[Array, "B n b 1 D"],
    v: Float[Array, "B n b 1 D"],
    exists: Bool[Array, "B n b"],
    counts: Int[Array, " B"],
) -> Float[Array, "B n b 1 D"]:
    """The rows of the first and the last block replaced by softmax attention over all tokens."""
    here, last = jnp.arange(q.shape[1]), counts[:, None] - 1
    rows = take_blocks(q, jnp.stack([0 * last, last], 2))
    keys, values, visible = (x.reshape(len(x), 1, -1, *x.shape[3:]) for x in (k, v, exists))
    first, final = jnp.split(block_attention(rows, keys, values, visible[:, :, None]), 2, 2)
    at_first, at_last = ((here == at)[:, :, None, None, None] for at in (0 * last, last))
    return jnp.where(at_first, first, jnp.where(at_last, final, out))
