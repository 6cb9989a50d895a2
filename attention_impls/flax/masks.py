"""Masks of real tokens as lengths, in JAX. A mechanism knows padding by lengths only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from attention_impls.base import AttentionError

Restore = Callable[[Array], Array]
"""Puts each row of (B, N, …) back where its token came from."""


def require_lengths(lengths: Array, inputs: dict[str, Array]) -> None:
    """AttentionError for lengths that no batch of these inputs has; values are looked at outside of jit only."""
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if jnp.shape(lengths) != (batch,) or not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise AttentionError(
            f"lengths are {jnp.result_type(lengths)} of shape {jnp.shape(lengths)}, expected whole numbers of (B,) = "
            f"({batch},)"
        )
    if (told := _values(lengths)) is not None and not ((told >= 0) & (told <= tokens)).all():
        raise AttentionError(f"lengths are {told.tolist()}, expected 0 to {tokens}, the tokens given")


def compacted(
    inputs: dict[str, Array], residual: Array | None, mask: Array, grid: Any
) -> tuple[dict[str, Array], Array | None, Int[Array, " B"], Restore | None]:
    """The inputs with the real tokens first, in their order; the lengths; and what undoes it, None for no change.

    Tokens that are first already stay where they are. Under jit nobody can ask whether they are: they are sorted, which
    changes nothing then. With a `grid` a token's place is its pixel, so there it has to hold.
    """
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if mask.shape != (batch, tokens) or mask.dtype != bool:
        raise AttentionError(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}, expected bool of (B, N) = {(batch, tokens)}, True "
            "where a token is real"
        )
    lengths = mask.sum(1, dtype=jnp.int32)
    told = _values(mask)
    if told is not None and (told[:, :-1] | ~told[:, 1:]).all():
        return inputs, residual, lengths, None
    if grid is not None and told is None:
        raise AttentionError("mask given with a grid under jit: give lengths")
    if grid is not None:
        raise AttentionError("mask has padding before a real token, expected all behind: on a grid places are pixels")
    order = jnp.argsort(~mask, axis=1, stable=True)
    back = jnp.argsort(order, axis=1)
    moved = {letter: _taken(array, order) for letter, array in inputs.items()}
    return moved, None if residual is None else _taken(residual, order), lengths, lambda out: _taken(out, back)


def real_keys(mask: Array, batch: int, tokens: int) -> Array:
    """(B, N), True where a token is real, from a mask of pairs (B, heads, queries, keys) that hides padding only.

    With one query for all the mask says so itself. Others are looked at: each query has to see every real token, but
    for those of padding, which may see none. AttentionError for the rest, and under jit, where nobody can look.
    """
    expected = f"(B, 1, 1, N) = {(batch, 1, 1, tokens)}, True where a token is real"
    if mask.ndim != 4 or mask.shape[0] not in (1, batch) or mask.shape[3] != tokens or mask.dtype != bool:
        raise AttentionError(f"mask is {mask.dtype} of shape {tuple(mask.shape)}, expected bool of {expected}")
    if mask.shape[1:3] == (1, 1):
        return jnp.broadcast_to(mask[:, 0, 0], (batch, tokens))
    told = _values(mask)
    if told is None:
        raise AttentionError(f"mask has shape {tuple(mask.shape)} under jit, expected {expected}")
    told = np.broadcast_to(told, (batch, *told.shape[1:]))
    real: np.ndarray = np.asarray(told.any((1, 2)))
    sees = np.asarray((told == real[:, None, None]).all(3))
    unseen = ~np.asarray(told.any(3)) & ~real[:, None] if told.shape[2] == tokens else np.zeros_like(sees)
    if not (sees | unseen).all():
        raise AttentionError(f"mask hides real tokens from some queries, expected padding only: {expected}")
    return jnp.asarray(real)


def _taken(array: Float[Array, "B N *rest"], places: Int[Array, "B N"]) -> Float[Array, "B N *rest"]:
    """Row places[b, n] of each example."""
    return jnp.take_along_axis(array, places.reshape(*places.shape, *(1,) * (array.ndim - 2)), 1)


def _values(array: Array) -> np.ndarray | None:
    """Its values; None under jit, where it has none yet."""
    return None if isinstance(array, Tracer) else np.asarray(array)
