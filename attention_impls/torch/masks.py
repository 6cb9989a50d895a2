"""Masks of real tokens as lengths, in PyTorch. A mechanism knows padding by lengths only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.base import AttentionError

Restore = Callable[[Tensor], Tensor]
"""Puts each row of (B, N, …) back where its token came from."""


def require_lengths(lengths: Tensor, inputs: dict[str, Tensor]) -> None:
    """AttentionError for lengths that no batch of these inputs has; values are looked at on a CPU only."""
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise AttentionError(
            f"lengths are {lengths.dtype} of shape {tuple(lengths.shape)}, expected whole numbers of (B,) = ({batch},)"
        )
    if _may_look(lengths) and batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= tokens:
        raise AttentionError(f"lengths are {lengths.tolist()}, expected 0 to {tokens}, the tokens given")


def compacted(
    inputs: dict[str, Tensor], residual: Tensor | None, mask: Tensor, grid: Any
) -> tuple[dict[str, Tensor], Tensor | None, Int[Tensor, " B"], Restore | None]:
    """The inputs with the real tokens first, in their order; the lengths; and what undoes it, None for no change.

    Tokens that are first already stay where they are. On a GPU nobody waits for an answer to that question: they are
    sorted, which changes nothing then. With a `grid` a token's place is its pixel, so there it has to hold.
    """
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if mask.shape != (batch, tokens) or mask.dtype != torch.bool:
        raise AttentionError(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}, expected torch.bool of (B, N) = {(batch, tokens)}, "
            "True where a token is real"
        )
    lengths = mask.sum(1)
    if grid is not None and torch.compiler.is_compiling():
        raise AttentionError("mask given with a grid under torch.compile: give lengths")
    if (grid is not None or _may_look(mask)) and bool((mask[:, :-1] | ~mask[:, 1:]).all()):
        return inputs, residual, lengths, None
    if grid is not None:
        raise AttentionError("mask has padding before a real token, expected all behind: on a grid places are pixels")
    order = torch.argsort(~mask, dim=1, stable=True)
    back = torch.argsort(order, dim=1)
    moved = {letter: _taken(array, order) for letter, array in inputs.items()}
    return moved, None if residual is None else _taken(residual, order), lengths, lambda out: _taken(out, back)


def _taken(array: Float[Tensor, "B N *rest"], places: Int[Tensor, "B N"]) -> Float[Tensor, "B N *rest"]:
    """Row places[b, n] of each example."""
    index = places.view(*places.shape, *(1,) * (array.ndim - 2))
    return array.gather(1, index.expand_as(array))


def _may_look(tensor: Tensor) -> bool:
    """Whether its values can be looked at without waiting for a device, and without a break in a compiled graph."""
    return tensor.device.type == "cpu" and type(tensor) is Tensor and not torch.compiler.is_compiling()
