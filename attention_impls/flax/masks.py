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
    """Raise AttentionError for lengths that do not fit the inputs. Values are checked outside of jit only."""
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if jnp.shape(lengths) != (batch,) or not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise AttentionError(
            f"lengths are {jnp.result_type(lengths)} of shape {jnp.shape(lengths)}, expected whole numbers of (B,) = "
            f"({batch},)"
        )
    if (told := _values(lengths)) is not None and not ((told >= 0) & (told <= tokens)).all():
        raise AttentionError(f"lengths are {told.tolist()}, expected 0 to {tokens}, the number of tokens")


def compacted(
    inputs: dict[str, Array], residual: Array | None, mask: Array, grid: Any
) -> tuple[dict[str, Array], Array | None, Int[Array, " B"], Restore | None]:
    """The inputs with real tokens first, in their order; the lengths; and a function to undo it, or None.

    If all real tokens are first already, nothing is moved. Under jit this is unknown, so the tokens are always sorted.
    With a `grid` a token's place is its pixel, so tokens must not move.
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
        raise AttentionError("mask is given with a grid under jit: give lengths instead")
    if grid is not None:
        raise AttentionError("mask has padding before a real token: on a grid, put all padding last")
    order = jnp.argsort(~mask, axis=1, stable=True)
    back = jnp.argsort(order, axis=1)
    moved = {letter: _taken(array, order) for letter, array in inputs.items()}
    return moved, None if residual is None else _taken(residual, order), lengths, lambda out: _taken(out, back)


def real_keys(mask: Array, batch: int, tokens: int) -> Array:
    """Convert a mask of pairs (B, heads, queries, keys) that hides padding only to (B, N), True at real tokens.

    With a single query the mask is used as it is. Otherwise its values are checked: each real query must see every real
    token. AttentionError for other masks, and under jit, where values are unknown.
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
    """The rows places[b, n] of each example b."""
    return jnp.take_along_axis(array, places.reshape(*places.shape, *(1,) * (array.ndim - 2)), 1)


def _values(array: Array) -> np.ndarray | None:
    """The values of an array; None under jit, where they are unknown."""
    return None if isinstance(array, Tracer) else np.asarray(array)
