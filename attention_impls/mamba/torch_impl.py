"""Mamba in PyTorch. Axis W: the directions, one or two, of which the second reads the tokens from their end."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attention_impls.base import Layer
from attention_impls.mamba import (
    CHUNK,
    CONV,
    CONV_BIAS,
    DECAY,
    IN,
    OUT,
    SELECT,
    SKIP,
    STEP,
    STEP_BIAS,
    Options,
)
from attention_impls.ops.scan_torch import linear_scan
from attention_impls.ops.selective_torch import selective_scan
from attention_impls.ops.torch_ops import Tokens

Ways = Float[Tensor, "W B N E"]


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = torch.promote_types(x.dtype, torch.float32)
    params = {name: array.to(wide) for name, array in layer.params.items()}
    u, z = (x @ layer.params[IN]).to(wide).chunk(2, -1)  # eq. (input)
    v = F.silu(_causal_conv(_ways(u, layer), params))  # eq. (conv)
    if layer.real is not None:  # where a bias is all there is
        v = v.masked_fill(~_ways(layer.real, layer)[..., None], 0.0)
    steps, states = params[STEP].shape[1], layer.options.state
    low, b, c = (v @ params[SELECT][:, None]).split([steps, states, states], -1)  # eq. (select)
    step = F.softplus(low @ params[STEP][:, None] + params[STEP_BIAS][:, None, None], threshold=50.0)  # eq. (select)
    recurrence = selective_scan if x.is_cpu else _recurrence
    y = recurrence(step, step * v, -params[DECAY].exp(), b, c)  # eq. (state)
    y = y + params[SKIP][:, None, None] * v  # eq. (read)
    y = y[0] + y[1].flip(1) if layer.options.bidirectional else y[0]
    out = (y * F.silu(z)).to(x.dtype) @ layer.params[OUT]  # eq. (output)
    return out.unflatten(2, (layer.dims.heads, layer.dims.head_dim))


def _ways(x: Tensor, layer: Layer[Options]) -> Tensor:
    """(B, N, …) as each direction reads it, (W, B, N, …)."""
    return torch.stack([x, x.flip(1)]) if layer.options.bidirectional else x[None]


def _causal_conv(u: Ways, params: dict[str, Tensor]) -> Ways:
    """Of each channel by itself, with zeros before the first token."""
    taps, tokens = params[CONV].shape[-1], u.shape[2]
    padded = F.pad(u, (0, 0, taps - 1, 0))
    out = params[CONV_BIAS][:, None, None]
    for tap in range(taps):
        out = out + params[CONV][:, None, None, :, tap] * padded[:, :, tap : tap + tokens]
    return out


def _recurrence(
    step: Ways, driven: Ways, a: Float[Tensor, "W E S"], b: Float[Tensor, "W B N S"], c: Float[Tensor, "W B N S"]
) -> Ways:
    """h_i C_i with h_i = e^{step A} h_{i−1} + driven B_iᵀ, a chunk of tokens after another.

    States live as long as their chunk. For gradients they are computed again.
    """
    state, read = step.new_zeros((*step.shape[:2], *a.shape[1:])), []
    for pieces in zip(*(each.split(CHUNK, 2) for each in (step, driven, b, c)), strict=True):
        if torch.is_grad_enabled():
            y, state = checkpoint(_chunk, a, state, *pieces, use_reentrant=False, preserve_rng_state=False)
        else:
            y, state = _chunk(a, state, *pieces)
        read.append(y)
    return torch.cat(read, 2)


def _chunk(a: Tensor, state: Tensor, step: Tensor, driven: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """What a chunk's tokens read, and the state behind its last one."""
    decay = (step[..., None] * a[:, None, None]).exp()
    inputs = driven[..., None] * b[..., None, :]
    inputs = torch.cat([inputs[:, :, :1] + decay[:, :, :1] * state[:, :, None], inputs[:, :, 1:]], 2)
    states = linear_scan(decay.flatten(0, 1), inputs.flatten(0, 1)).unflatten(0, step.shape[:2])
    return (states @ c[..., None]).squeeze(-1), states[:, :, -1].clone()
