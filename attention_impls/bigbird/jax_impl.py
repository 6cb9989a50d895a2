"""BigBird attention in JAX. Heads are folded into the batch, since each has random blocks of its own."""

from __future__ import annotations

import jax.numpy as jnp
from einops import rearrange, repeat
from jax import Array
from jaxtyping import Bool, Float, Int

from attention_impls.base import Layer
from attention_impls.bigbird import TABLE, Options
from attention_impls.ops.blocks_jax import block_attention, from_blocks, real_blocks, take_blocks, to_blocks
from attention_impls.ops.jax_ops import Tokens

Blocks = Float[Array, "B n b 1 D"]
Numbers = Int[Array, "B n"]
Last = Int[Array, "B 1"]


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    batch, tokens, heads = q.shape[:3]
    size = min(layer.options.block_size, tokens)
    q, k, v = (to_blocks(rearrange(x, "B N H D -> (B H) N 1 D"), size) for x in (q, k, v))
    exists = real_blocks(layer.real, tokens, size)
    exists = jnp.broadcast_to(exists, (batch, *exists.shape[1:]))
    exists = repeat(exists, "B n b -> (B H) n b", H=heads)
    last = jnp.maximum(exists.any(2).sum(1, keepdims=True), 1) - 1
    random = []
    if TABLE in layer.constants:
        table = repeat(layer.constants[TABLE][:, : q.shape[1]], "H n r -> (B H) n r", B=batch)
        random = random_blocks(table, jnp.arange(q.shape[1]), last)
    out = _ordinary(q, k, v, exists, last, random)
    out = _with_global_rows(out, q, k, v, exists, last)
    return rearrange(from_blocks(out, tokens), "(B H) N 1 D -> B N H D", H=heads)


def _ordinary(
    q: Blocks, k: Blocks, v: Blocks, exists: Bool[Array, "B n b"], last: Last, random: list[Numbers]
) -> Blocks:
    """Each block with the blocks that it sees; the rows of the first and the last block mean nothing."""
    count, size = q.shape[1:3]
    here = jnp.arange(count)
    first, left, right, always = 0 * here, here - 1, here + 1, here >= 0
    index = _side_by_side(first, last, left, here, right, *random).clip(0, count - 1)  # eq. (seen)
    # A neighbour that is also the first or the last block counts once; 0 stands for no random block.
    new = _side_by_side(always, always, left > 0, always, right < last, *(block > 0 for block in random))
    visible = take_blocks(exists, index) & repeat(new, "B n k -> B n (k b)", b=size)
    return block_attention(q, take_blocks(k, index), take_blocks(v, index), visible[:, :, None])  # eq. (ordinary)


def _side_by_side(*numbers: Array) -> Array:
    """(B, n, k) from k arrays that are (B, n), or the same for every example or every block."""
    return jnp.stack(jnp.broadcast_arrays(*numbers), 2)


def random_blocks(table: Float[Array, "B n r"], here: Int[Array, " n"], last: Last) -> list[Numbers]:
    """r different blocks for each block, of those that it does not see anyway. If there are fewer, 0 replaces the rest.

    Floyd's sampling: step t draws one of the first `free − r + t + 1` free blocks. If that one was drawn before, it
    takes the last of these instead.
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


def _with_global_rows(out: Blocks, q: Blocks, k: Blocks, v: Blocks, exists: Bool[Array, "B n b"], last: Last) -> Blocks:
    """The rows of the first and the last block replaced by softmax attention over all tokens."""
    rows = take_blocks(q, _side_by_side(0 * last, last))
    keys, values = (rearrange(x, "B n b H D -> B 1 (n b) H D") for x in (k, v))
    both = block_attention(rows, keys, values, rearrange(exists, "B n b -> B 1 1 (n b)"))  # eq. (global)
    first, final = jnp.split(both, 2, 2)
    here = jnp.arange(q.shape[1])
    at_first, at_last = ((here == at)[:, :, None, None, None] for at in (0 * last, last))
    return jnp.where(at_first, first, jnp.where(at_last, final, out))
