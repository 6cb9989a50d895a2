"""Mamba's recurrence in PyTorch on a CPU. Axes W: directions; E: inner channels; S: states of each.

    h_i = e^{Δ_i A} h_{i−1} + d_i B_iᵀ,  y_i = h_i C_i

One token after another, from a state of zero. A tile, which is a piece of the tokens of some examples, has its decays
and states in the processor's cache. Only the state before each piece is kept. The gradient computes the others again,
from the last piece to the first. A tree of steps, as in `scan_torch`, goes through memory many times: it is for a GPU,
where steps in order would idle.
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

TILE = 2**18
"""States of a tile for each thread: an array of 1 MiB in float32, of which a gradient has four."""

PIECES = (16, 64)
"""The fewest and the most tokens of a piece. With fewer the states kept would outgrow the outputs."""


def selective_scan(step: Ways, driven: Ways, a: Decays, b: Selected, c: Selected) -> Ways:
    """The y of every token; `step` has the Δ, `driven` the d."""
    return torch.ops.attention_impls.selective_scan(step, driven, a.mT.contiguous(), b, c)[0]


# An operator of its own: a compiler takes it as it is, and who counts operations sees a recurrence.
@torch.library.custom_op(
    "attention_impls::selective_scan",
    mutates_args=(),
    schema="(Tensor step, Tensor driven, Tensor a, Tensor b, Tensor c) -> (Tensor, Tensor)",
)
def _selective_scan(step: Tensor, driven: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The y, and the states before pieces, (W, pieces, B, S, E). Here and below, a is (W, S, E)."""
    outs, before = torch.empty_like(step), step.new_zeros(_kept(step, a))
    for way, rows in _groups(step, a):
        for index, where in enumerate(_pieces(step, a)):
            tile = (way, rows, where)
            decay, states = _made(step[tile], driven[tile], a[way], b[tile], before[way, index, rows])
            for i in range(1, len(states)):
                states[i].addcmul_(decay[i - 1], states[i - 1])
            outs[tile] = _tokens_last(_first(c[tile])[..., None, :] @ states[1:], -2)
            if index + 1 < before.shape[1]:
                before[way, index + 1, rows] = states[-1]
    return outs, before


@_selective_scan.register_fake
def _(step: Tensor, driven: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(step), step.new_empty(_kept(step, a))


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
    of_step, of_driven, of_b, of_c = (torch.empty_like(each) for each in (step, driven, b, c))
    of_a = torch.zeros_like(a)
    for way, rows in _groups(step, a):
        later = torch.zeros_like(before[way, 0, rows])
        for index, where in reversed(list(enumerate(_pieces(step, a)))):
            tile = (way, rows, where)
            decay, states = _made(step[tile], driven[tile], a[way], b[tile], before[way, index, rows])
            for i in range(1, len(states)):
                states[i].addcmul_(decay[i - 1], states[i - 1])
            of_out = _first(grads[tile])
            of_c[tile] = _tokens_last(states[1:] @ of_out[..., None], -1)
            of_states = _first(c[tile])[..., None] * of_out[..., None, :]
            of_states[-1] += later
            for i in range(len(of_states) - 1, 0, -1):
                of_states[i - 1].addcmul_(decay[i], of_states[i])
            later = decay[0] * of_states[0]
            of_driven[tile] = _tokens_last(_first(b[tile])[..., None, :] @ of_states, -2)
            of_b[tile] = _tokens_last(of_states @ _first(driven[tile])[..., None], -1)
            of_exponent = of_states.mul_(decay).mul_(states[:-1])
            of_step[tile] = torch.mul(of_exponent, a[way], out=decay).sum(-2).movedim(0, 1)
            of_a[way] += of_exponent.mul_(_first(step[tile])[..., None, :]).sum((0, 1))
    return of_step, of_driven, of_a, of_b, of_c


@_gradients.register_fake
def _(grads: Tensor, before: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
    return tuple(torch.empty_like(each) for each in given)


def _piece(a: Tensor) -> int:
    """Tokens of a piece: as many backward as forward, so the number of threads, which may change, does not count."""
    least, most = PIECES
    return max(least, min(most, TILE // a[0].numel()))


def _pieces(step: Tensor, a: Tensor) -> Iterator[slice]:
    """The tokens of each piece."""
    size = _piece(a)
    return (slice(begin, begin + size) for begin in range(0, step.shape[2], size))


def _groups(step: Tensor, a: Tensor) -> Iterator[tuple[int, slice]]:
    """Directions, and the examples whose pieces make a tile."""
    size = max(1, TILE * torch.get_num_threads() // (_piece(a) * a[0].numel()))
    return ((way, slice(row, row + size)) for way in range(len(step)) for row in range(0, step.shape[1], size))


def _kept(step: Tensor, a: Tensor) -> tuple[int, ...]:
    """The shape of the states before pieces."""
    return (len(a), -(-step.shape[2] // _piece(a)), step.shape[1], *a.shape[1:])


def _first(x: Tensor) -> Tensor:
    """(B, N, …) with the tokens first."""
    return x.movedim(1, 0).contiguous()


def _tokens_last(x: Tensor, one: int) -> Tensor:
    """(N, B, …) with an axis of one as (B, N, …) without it."""
    return x.squeeze(one).movedim(0, 1)


def _made(step: Tensor, driven: Tensor, a: Tensor, b: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
    """Decays (N, B, S, E), and inputs behind the state before them, (1 + N, B, S, E)."""
    decay = (_first(step)[..., None, :] * a).exp_()
    inputs = state.new_empty((len(decay) + 1, *state.shape))
    inputs[0] = state
    torch.mul(_first(b)[..., None], _first(driven)[..., None, :], out=inputs[1:])
    return decay, inputs


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(output[1], *inputs)
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grads: Tensor, _: Any) -> tuple[Tensor, ...]:
    return torch.ops.attention_impls.selective_scan_backward(grads, *ctx.saved_tensors)


_selective_scan.register_autograd(_backward, setup_context=_keep)
