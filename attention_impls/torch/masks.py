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
    """Raise AttentionError for lengths that do not fit the inputs. Values are checked on a CPU only."""
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if lengths.shape != (batch,) or lengths.is_floating_point() or lengths.dtype == torch.bool:
        raise AttentionError(
            f"lengths are {lengths.dtype} of shape {tuple(lengths.shape)}, expected whole numbers of (B,) = ({batch},)"
        )
    if _may_look(lengths) and batch and not 0 <= int(lengths.min()) <= int(lengths.max()) <= tokens:
        raise AttentionError(f"lengths are {lengths.tolist()}, expected 0 to {tokens}, the number of tokens")


def compacted(
    inputs: dict[str, Tensor], residual: Tensor | None, mask: Tensor, grid: Any
) -> tuple[dict[str, Tensor], Tensor | None, Int[Tensor, " B"], Restore | None]:
    """The inputs with real tokens first, in their order; the lengths; and a function to undo it, or None.

    If all real tokens are first already, nothing is moved. On a GPU this is not checked, since the check would wait for
    the device: the tokens are always sorted. With a `grid` a token's place is its pixel, so tokens must not move.
    """
    batch, tokens = next(iter(inputs.values())).shape[:2]
    if mask.shape != (batch, tokens) or mask.dtype != torch.bool:
        raise AttentionError(
            f"mask is {mask.dtype} of shape {tuple(mask.shape)}, expected torch.bool of (B, N) = {(batch, tokens)}, "
            "True where a token is real"
        )
    lengths = mask.sum(1)
    if grid is not None and torch.compiler.is_compiling():
        raise AttentionError("mask is given with a grid under torch.compile: give lengths instead")
    if (grid is not None or _may_look(mask)) and bool((mask[:, :-1] | ~mask[:, 1:]).all()):
        return inputs, residual, lengths, None
    if grid is not None:
        raise AttentionError("mask has padding before a real token: on a grid, put all padding last")
    order = torch.argsort(~mask, dim=1, stable=True)
    back = torch.argsort(order, dim=1)
    moved = {letter: _taken(array, order) for letter, array in inputs.items()}
    return moved, None if residual is None else _taken(residual, order), lengths, lambda out: _taken(out, back)


def _taken(array: Float[Tensor, "B N *rest"], places: Int[Tensor, "B N"]) -> Float[Tensor, "B N *rest"]:
    """The rows places[b, n] of each example b."""
    index = places.view(*places.shape, *(1,) * (array.ndim - 2))
    return array.gather(1, index.expand_as(array))


def _may_look(tensor: Tensor) -> bool:
    """Whether values can be read without waiting for a device and without a break in a compiled graph."""
    return tensor.device.type == "cpu" and type(tensor) is Tensor and not torch.compiler.is_compiling()
