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


def _taken(array: Float[Array, "B N *rest"], places: Int[Array, "B N"]) -> Float[Array, "B N *rest"]:
    """Row places[b, n] of each example."""
    return jnp.take_along_axis(array, places.reshape(*places.shape, *(1,) * (array.ndim - 2)), 1)


def _values(array: Array) -> np.ndarray | None:
    """Its values; None under jit, where it has none yet."""
    return None if isinstance(array, Tracer) else np.asarray(array)
