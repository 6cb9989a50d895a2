"""Blocks of consecutive tokens, in JAX: cut, gathered, attended to. Axis letters: attention_impls/base.py.

n is the number of blocks, b the tokens of one. A block begins at a multiple of b. Padding tokens and the cells beyond
the last token are treated alike. They are not real, and their values are zeros wherever a sum could include them.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float, Int, Shaped

from attention_impls.ops.jax_ops import Real, average


def to_blocks(x: Shaped[Array, "B N *rest"], size: int) -> Shaped[Array, "B n b *rest"]:
    """Blocks of `size` tokens, zeros behind the last token; XLA drops a padding of nothing."""
    padded = _pad_tokens(x, 0, -x.shape[1] % size)
    return padded.reshape(len(x), -1, size, *x.shape[2:])


def from_blocks(x: Shaped[Array, "B n b *rest"], tokens: int) -> Shaped[Array, "B N *rest"]:
    """The inverse of `to_blocks`: the first `tokens` tokens."""
    return x.reshape(len(x), -1, *x.shape[3:])[:, :tokens]


def real_blocks(real: Real | None, tokens: int, size: int) -> Bool[Array, "_ n b"]:
    """The real tokens, in blocks; of one example for all where every token is real."""
    return to_blocks(jnp.ones((1, tokens), bool) if real is None else real, size)


def neighbours(x: Shaped[Array, "B n b *rest"]) -> Shaped[Array, "B n 3*b *rest"]:
    """Every block between the one before and the one after it, zeros (False) beyond the ends."""
    padded = _pad_tokens(x, 1, 1)
    return jnp.concatenate([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], 2)


def window(real: Bool[Array, "B n b"]) -> Bool[Array, "B n b 3*b"]:
    """Which of its `neighbours` a token sees through a window that reaches b tokens to each side."""
    size = real.shape[2]
    here, there = jnp.arange(size), jnp.arange(-size, 2 * size)
    return neighbours(real)[:, :, None] & (jnp.abs(here[:, None] - there) <= size)


def take_blocks(x: Shaped[Array, "B n b *rest"], index: Int[Array, "_ m k"]) -> Shaped[Array, "B m kb *rest"]:
    """Blocks of each example by number, k of them side by side; one row of numbers may serve every example."""
    taken = x[jnp.arange(len(x))[:, None, None], index]
    return taken.reshape(*taken.shape[:2], -1, *x.shape[3:])


def block_attention(
    q: Float[Array, "B n i H D"],
    k: Float[Array, "B n j H D"],
    v: Float[Array, "B n j H D"],
    visible: Bool[Array, "#B n #i j"] | None,
) -> Float[Array, "B n i H D"]:
    """softmax(q kᵀ / √D) v in every block, with float32 statistics at least.

    A finite fill keeps a row that sees no key finite: the caller drops it.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    shape = {"B": q.shape[0], "n": q.shape[1], "H": q.shape[3]}
    q, k, v = (rearrange(x, "B n i H D -> (B n H) i D") for x in (q, k, v))
    scores = jnp.einsum("rid,rjd->rij", q, k, preferred_element_type=wide) / math.sqrt(q.shape[-1])
    if visible is not None:
        apart = rearrange(scores, "(B n H) i j -> B n H i j", **shape)
        masked = jnp.where(visible[:, :, None], apart, jnp.finfo(wide).min)
        scores = rearrange(masked, "B n H i j -> (B n H) i j")
    return rearrange(average(scores, v), "(B n H) i D -> B n i H D", **shape)


def _pad_tokens(x: Array, before: int, after: int) -> Array:
    """Zeros around the axis behind the batch."""
    return jnp.pad(x, [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))
