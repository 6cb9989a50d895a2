"""S4D in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.fourier import piece
from attention_impls.ops.fourier_torch import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.pairs import Pair, times
from attention_impls.ops.torch_ops import Tokens
from attention_impls.s4d import B_IMAG, B_REAL, C_IMAG, C_REAL, DECAY, FREQUENCY, STEP, Options


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = torch.promote_types(x.dtype, torch.float32)
    after, before = _kernels({name: array.to(wide) for name, array in layer.params.items()}, x.shape[1])
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)


def _kernels(params: dict[str, Tensor], tokens: int) -> Float[Tensor, "2 C N"]:
    """Those of both directions. e^{Δλ(j·p + i)} is a power in j times one in i; the sum over n is a matrix product.

    A power for each state and lag at once would fill a gigabyte at 256 channels, 32 pairs and 16,384 lags.
    """
    size = piece(tokens)
    step = params[STEP].exp()[:, None]
    decay, turn = -params[DECAY].exp(), params[FREQUENCY]  # λ
    inputs = times((params[B_REAL], params[B_IMAG]), _held(decay, turn, step))  # eq. (discrete)
    weights = times((params[C_REAL], params[C_IMAG]), inputs)
    within = _powers(decay * step, turn * step, torch.arange(size, device=step.device))
    starts = _powers(decay * step, turn * step, size * torch.arange(-(-tokens // size), device=step.device))
    real, imag = times((weights[0][..., None], weights[1][..., None]), starts)
    pieces = torch.cat([real, -imag], 2).mT @ torch.cat(within, 1)
    return 2 * pieces.flatten(2)[..., :tokens]  # eq. (kernel)


def _held(decay: Tensor, turn: Tensor, step: Tensor) -> Pair:
    """(e^{Δλ} − 1) / λ, without the loss of digits of that difference."""
    grown = (decay * step).exp()
    real = (decay * step).expm1() * (turn * step).cos() - 2 * (turn * step / 2).sin().square()
    imag = grown * (turn * step).sin()
    size = decay.square() + turn.square()
    return times((real, imag), (decay / size, -turn / size))


def _powers(decay: Float[Tensor, "C n"], turn: Float[Tensor, "C n"], lags: Tensor) -> Pair:
    """e^{Δλ l} for each of the lags, (C, n, lags)."""
    size, angle = (decay[..., None] * lags).exp(), turn[..., None] * lags
    return size * angle.cos(), size * angle.sin()
