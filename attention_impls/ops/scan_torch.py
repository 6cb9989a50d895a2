"""Linear recurrences over tokens in PyTorch. Axis letters: attention_impls/base.py; `scan` says what is computed."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Inexact
from torch import Tensor

States = Inexact[Tensor, "B N *state"]
Decays = Inexact[Tensor, "#B #N *#state"]
"""Those of each token, or with a single one on the token axis those of all."""


def linear_scan(decay: Decays, inputs: States, *, reverse: bool = False) -> States:
    """The states h_i = decay_i h_{i−1} + inputs_i, or in reverse; inputs are zero at padding."""
    return torch.ops.attention_impls.linear_scan(decay, inputs, reverse)


# An operator of its own: a compiler takes it as it is, and who counts operations sees a recurrence.
@torch.library.custom_op(
    "attention_impls::linear_scan", mutates_args=(), schema="(Tensor decay, Tensor inputs, bool reverse) -> Tensor"
)
def _linear_scan(decay: Tensor, inputs: Tensor, reverse: bool) -> Tensor:
    if reverse:
        return states_of(decay.flip(1), inputs.flip(1)).flip(1)
    return states_of(decay, inputs)


def states_of(decay: Decays, inputs: States) -> States:
    """Those of the scan in order: first those of each second token, from pairs of steps, then those between."""
    tokens = inputs.shape[1]
    if tokens == 1:
        return inputs.clone()
    each = decay.shape[1] > 1
    last = tokens - tokens % 2
    odd, later = (decay[:, 1::2], decay[:, 2::2]) if each else (decay, decay)
    pairs = odd * decay[:, :last:2]
    states = torch.empty_like(inputs)
    states[:, 1::2] = states_of(pairs, torch.addcmul(inputs[:, 1::2], odd, inputs[:, :last:2]))
    states[:, 0] = inputs[:, 0]
    if tokens > 2:
        torch.addcmul(inputs[:, 2::2], later, states[:, 1 : tokens - 1 : 2], out=states[:, 2::2])
    return states


@_linear_scan.register_fake
def _(decay: Tensor, inputs: Tensor, reverse: bool) -> Tensor:
    return torch.empty_like(inputs)


def _keep(ctx: Any, inputs: tuple[Tensor, Tensor, bool], output: Tensor) -> None:
    ctx.save_for_backward(inputs[0], output)
    ctx.reverse = inputs[2]


def _backward(ctx: Any, grads: Tensor) -> tuple[Tensor, Tensor, None]:
    """Each state's gradient is that of the result and, through the next state's decay, that of the next."""
    decay, states = ctx.saved_tensors
    following = decay.roll(1 if ctx.reverse else -1, 1).conj()
    grads = linear_scan(following.resolve_conj(), grads, reverse=not ctx.reverse)
    rest = (0, 0) * (states.ndim - 2)
    if ctx.reverse:
        of_decay = F.pad(grads[:, :-1] * states[:, 1:].conj(), (*rest, 0, 1))
    else:
        of_decay = F.pad(grads[:, 1:] * states[:, :-1].conj(), (*rest, 1, 0))
    return of_decay.sum_to_size(decay.shape), grads, None


_linear_scan.register_autograd(_backward, setup_context=_keep)
