"""Mamba's recurrence in PyTorch on a CPU. Axes W: directions; E: inner channels; S: states of each.

    h_i = e^{Δ_i A} h_{i−1} + d_i B_iᵀ,  y_i = h_i C_i

One token after another, from a state of zero. A piece of tokens has its decays and states in the processor's cache, and
only the state before each piece is kept. The gradient computes the others again, from the last piece to the first. A
tree of steps, as in `scan_torch`, goes through memory many times: it is for a GPU, where steps in order would idle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Ways = Float[Tensor, "W B N E"]
Selected = Float[Tensor, "W B N S"]
Decays = Float[Tensor, "W E S"]

CACHED = 2**19
"""Numbers of a piece's states; the best of several on a core with 1 MiB of its own and 32 MiB shared."""

PIECES = (16, 64)
"""The fewest and the most tokens of a piece. With fewer the states kept would outgrow the outputs."""


def selective_scan(step: Ways, driven: Ways, a: Decays, b: Selected, c: Selected) -> Ways:
    """The y of every token; `step` has the Δ, `driven` the d."""
    return torch.ops.attention_impls.selective_scan(step, driven, a, b, c)[0]


def piece_of(step: Ways, a: Decays) -> int:
    """Tokens of a piece."""
    least, most = PIECES
    return max(least, min(most, CACHED // max(step.shape[1] * a.numel(), 1)))


# An operator of its own: a compiler takes it as it is, and who counts operations sees a recurrence.
@torch.library.custom_op(
    "attention_impls::selective_scan",
    mutates_args=(),
    schema="(Tensor step, Tensor driven, Tensor a, Tensor b, Tensor c) -> (Tensor, Tensor)",
)
def _selective_scan(step: Tensor, driven: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The y, and the state before each piece."""
    outs, before = torch.empty_like(step), []
    state = step.new_zeros((len(step), step.shape[1], *a.shape[1:]))
    for where in _pieces(step, a):
        before.append(state)
        decay, states = _made(step[:, :, where], driven[:, :, where], a, b[:, :, where])
        for i in range(len(states)):
            state = states[i].addcmul_(decay[i], state)
        state = state.clone()  # the others go
        outs[:, :, where] = (states @ _first(c[:, :, where])[..., None]).squeeze(-1).movedim(0, 2)
    return outs, torch.stack(before)


@_selective_scan.register_fake
def _(step: Tensor, driven: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    count = -(-step.shape[2] // piece_of(step, a))
    return torch.empty_like(step), step.new_empty((count, len(step), step.shape[1], *a.shape[1:]))


@torch.library.custom_op(
    "attention_impls::selective_scan_backward",
    mutates_args=(),
    schema="(Tensor grads, Tensor before, Tensor step, Tensor driven, Tensor a, Tensor b, Tensor c)"
    " -> (Tensor, Tensor, Tensor, Tensor, Tensor)",
)
def _gradients(
    grads: Tensor, before: Tensor, step: Tensor, driven: Tensor, a: Tensor, b: Tensor, c: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Those of step, driven, a, b and c."""
    given = (step, driven, b, c)
    of_step, of_driven, of_b, of_c = (torch.empty_like(each) for each in given)
    of_a, later = torch.zeros_like(a), torch.zeros_like(before[0])
    for state, where in reversed(list(zip(before, _pieces(step, a), strict=True))):
        steps, drive, reads = (_first(each[:, :, where]) for each in (step, driven, c))
        decay, states = _made(step[:, :, where], driven[:, :, where], a, b[:, :, where], state)
        for i in range(1, len(states)):
            states[i].addcmul_(decay[i - 1], states[i - 1])
        of_out = _first(grads[:, :, where])
        of_c[:, :, where] = (of_out[..., None, :] @ states[1:]).squeeze(-2).movedim(0, 2)
        of_states = of_out[..., None] * reads[..., None, :]
        of_states[-1] += later
        for i in range(len(of_states) - 1, 0, -1):
            of_states[i - 1].addcmul_(decay[i], of_states[i])
        later = decay[0] * of_states[0]
        of_driven[:, :, where] = (of_states @ _first(b[:, :, where])[..., None]).squeeze(-1).movedim(0, 2)
        of_b[:, :, where] = (drive[..., None, :] @ of_states).squeeze(-2).movedim(0, 2)
        of_exponent = of_states.mul_(decay).mul_(states[:-1])
        of_step[:, :, where] = (of_exponent * a[:, None]).sum(-1).movedim(0, 2)
        of_a += of_exponent.mul_(steps[..., None]).sum((0, 2))
    return of_step, of_driven, of_a, of_b, of_c


@_gradients.register_fake
def _(grads: Tensor, before: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(each) for each in given)


def _pieces(step: Tensor, a: Tensor) -> Iterator[slice]:
    size = piece_of(step, a)
    return (slice(begin, begin + size) for begin in range(0, step.shape[2], size))


def _first(x: Tensor) -> Tensor:
    """(W, B, N, …) with the tokens first."""
    return x.movedim(2, 0).contiguous()


def _made(step: Tensor, driven: Tensor, a: Tensor, b: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Decays and inputs, (N, W, B, E, S); the state before them, if given, is in front of the inputs."""
    decay = (_first(step)[..., None] * a[:, None]).exp_()
    if state is None:
        return decay, _first(driven)[..., None] * _first(b)[..., None, :]
    inputs = state.new_empty((len(decay) + 1, *state.shape))
    inputs[0] = state
    torch.mul(_first(driven)[..., None], _first(b)[..., None, :], out=inputs[1:])
    return decay, inputs


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1], *inputs)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grads: Tensor, _: Any) -> tuple[Tensor, ...]:
    return torch.ops.attention_impls.selective_scan_backward(grads.contiguous(), *ctx.saved_tensors)


_selective_scan.register_autograd(_backward, setup_context=_keep)
