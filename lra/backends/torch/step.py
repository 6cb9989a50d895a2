"""One optimiser step in PyTorch, operation by operation, and the pieces that a captured one shares with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from lra.backends.torch.encoder import Encoder
from lra.backends.torch.threads import Threads
from lra.model.batches import NO_EXAMPLE, Chunk

Add = Callable[[Sequence[Tensor]], None]
"""Sums tensors over the devices that share a batch, in place."""


class Group(NamedTuple):
    """Examples of one batch that are padded to the same length; no lengths where every position is real."""

    tokens: Int[Tensor, "b T n"]
    lengths: Int[Tensor, "b T"] | None
    labels: Int[Tensor, " b"]
    places: Int[Tensor, " b"]
    """In the batch, as it was drawn."""


class Batch(NamedTuple):
    """What one step learns from: groups whose gradients add up to the batch's, and how many examples they hold."""

    groups: list[Group]
    examples: Int[Tensor, ""]
    step: Int[Tensor, ""]


def on_device(chunk: Chunk, device: torch.device) -> tuple[Tensor, Tensor | None, Tensor]:
    """The chunk's tokens, lengths and labels; a GPU fetches them while the host goes on."""
    tokens = _copied(torch.from_numpy(chunk.tokens.astype(np.int32)), device)
    lengths = None if chunk.lengths is None else _copied(torch.from_numpy(chunk.lengths), device)
    return tokens, lengths, _copied(torch.from_numpy(chunk.labels).long(), device)


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def batches(chunk: Chunk, device: torch.device) -> list[Batch]:
    """The chunk's batches, each cut into its groups, all of them views of one copy on the device."""
    tokens, lengths, labels = on_device(chunk, device)
    places, steps = (_copied(torch.from_numpy(array), device) for array in (chunk.places, chunk.steps))
    examples = _copied(torch.from_numpy(chunk.examples), device)
    per_group = labels.shape[1] // chunk.size_of.shape[1]

    def group(k: int, number: int, size: int) -> Group:
        rows = slice(number * per_group, (number + 1) * per_group)
        documents = None if lengths is None else lengths[k, rows]
        return Group(tokens[k, rows, :, : chunk.sizes[size]], documents, labels[k, rows], places[k, rows])

    return [
        Batch([group(k, number, size) for number, size in enumerate(sizes.tolist())], examples[k], steps[k])
        for k, sizes in enumerate(chunk.size_of)
    ]


def eager_step(
    encoder: Encoder, optimiser: torch.optim.AdamW, threads: Threads, add: Add | None, batch: Batch, rate: float
) -> Float[Tensor, "3"]:
    """Learn from one batch: (loss, correct, count). `add` is given where other devices have shares of it."""
    for settings in optimiser.param_groups:
        settings["lr"] = rate * settings["factor"]
    parameters = list(encoder.parameters())

    def of_group(group: Group) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        loss, totals = group_loss(encoder, group, batch.examples, batch.step)
        return totals, torch.autograd.grad(loss, parameters, allow_unused=True)

    totals, gradients = zip(*threads.map(of_group, batch.groups), strict=True)
    for parameter, parts in zip(parameters, zip(*gradients, strict=True), strict=True):
        used = [part for part in parts if part is not None]
        # The fused AdamW reads memory in order, whatever the gradient's strides say.
        parameter.grad = reduce(torch.add, used).contiguous() if used else None
    found = total(totals)
    if add is not None:
        # Without a gradient zeros stand in its place: all devices add arrays of the same shapes.
        add([*(torch.zeros_like(each) if each.grad is None else each.grad for each in parameters), found])
    optimiser.step()
    return found


def group_loss(
    encoder: Encoder, group: Group, examples: Int[Tensor, ""], step: Int[Tensor, ""]
) -> tuple[Float[Tensor, ""], Float[Tensor, "3"]]:
    """What the group adds to the batch's mean of loss and penalty over `examples`, and (loss, correct, count)."""
    logits, penalty = encoder(group.tokens, group.lengths, encoder.dropping.at(step, group.places, group.tokens))
    totals = sums(logits, group.labels)
    return (totals[0] + penalty.masked_fill(group.labels == NO_EXAMPLE, 0.0).sum()) / examples, totals.detach()


def total(of_groups: Sequence[Tensor]) -> Float[Tensor, "3"]:
    """(loss, correct, count) of a batch from those of its groups."""
    return torch.stack(list(of_groups)).sum(0)


def sums(logits: Float[Tensor, "b classes"], labels: Int[Tensor, " b"]) -> Float[Tensor, "3"]:
    """(loss, correct, count), in the logits' dtype; rows without an example count nowhere."""
    real = labels != NO_EXAMPLE
    loss = F.cross_entropy(logits, labels, ignore_index=NO_EXAMPLE, reduction="sum")
    correct = (logits.argmax(-1) == labels) & real
    return torch.stack([loss, correct.sum().to(loss.dtype), real.sum().to(loss.dtype)])
