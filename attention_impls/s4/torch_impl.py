"""S4 in PyTorch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from attention_impls.base import Dims, Layer
from attention_impls.ops.fourier_torch import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_torch import gated
from attention_impls.ops.pairs import times
from attention_impls.ops.torch_ops import Tokens
from attention_impls.s4 import (
    B_IMAG,
    B_REAL,
    C_IMAG,
    C_REAL,
    DECAY,
    FREQUENCY,
    P_IMAG,
    P_REAL,
    STEP,
    Options,
    nodes,
    period,
    piece,
)


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = torch.promote_types(x.dtype, torch.float32)
    kernels = _kernels({name: array.to(wide) for name, array in layer.params.items()}, layer.dims)
    after, before = kernels[..., : x.shape[1]]
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)


def _kernels(params: dict[str, Tensor], dims: Dims) -> Float[Tensor, "2 C M"]:
    """Those of both directions, M lags: the inverse transform of their generating functions, made in pieces.

    A term for each pair and frequency at once would fill half a gigabyte at 256 channels, 32 pairs and 16,384 lags. For
    gradients the terms of a piece are computed again.
    """

    def each(name: str) -> Tensor:
        """The system of each channel."""
        return params[name].repeat(dims.width // len(params[name]), 1)

    step = F.softplus(params[STEP])[:, None]  # eq. (discrete)
    decay, turn = -each(DECAY).exp() * step, each(FREQUENCY) * step  # Δλ
    b, p = (each(B_REAL), each(B_IMAG)), (each(P_REAL), each(P_IMAG))
    lefts = (*zip(params[C_REAL], params[C_IMAG], strict=True), (p[0], -p[1]))
    products = [times(left, right) for left in lefts for right in (b, p)]
    plain = torch.stack([real for real, _ in products], 1)
    turned = torch.stack([real * decay + imag * turn for real, imag in products], 1)
    weights = torch.cat([plain, turned], 1) * step[:, None]
    halves = torch.arange(nodes(dims), device=step.device, dtype=torch.float64) * (math.pi / period(dims))
    made = [
        checkpoint(_generating, weights, decay, turn, at, use_reentrant=False, preserve_rng_state=False)
        for at in halves.split(piece(decay.shape[1], dims))
    ]
    return torch.fft.irfft(torch.cat(made, 2), period(dims))  # eq. (kernel)


def _generating(
    weights: Float[Tensor, "C rows n"], decay: Float[Tensor, "C n"], turn: Float[Tensor, "C n"], halves: Tensor
) -> Complex[Tensor, "2 C nodes"]:
    """The generating functions at ω = e^{−2ih} for each of the angles h, by sums of real numbers.

    Since 1 − ω = 2i e^{−ih} sin h and 1 + ω = 2 e^{−ih} cos h, every term is finite, at ω = −1 too:

        R 2 / (1 + ω) = e^{ih} Σ Δ v / (2i sin h − Δλ cos h)

    The sum of a pair's two terms has Re v and Re v Δλ* above |…|², which `weights` holds for each product v of `SUMS`.
    """
    sine, cosine = halves.sin().to(decay), halves.cos().to(decay)
    damped, moved = decay[..., None] * cosine, turn[..., None] * cosine
    real = damped.square() - (2 * sine - moved) * (2 * sine + moved)
    imag = -4 * sine * damped
    size = real.square() + imag.square()
    sums = weights @ torch.cat([real / size, -imag / size], 2)
    plain, turned = sums.unflatten(2, (2, -1)).unflatten(1, (2, -1)).unbind(1)
    found = torch.complex(  # R 2 e^{−ih} / (1 + ω) of each product
        -2 * cosine * turned[:, :, 0] - 4 * sine * plain[:, :, 1],
        -2 * cosine * turned[:, :, 1] + 4 * sine * plain[:, :, 0],
    )
    by_b, by_p = found.unflatten(1, (-1, 2)).unbind(2)
    back = cosine * by_b[:, 2] / (1 + cosine * by_p[:, 2])
    made = torch.complex(cosine, sine) * (by_b[:, :2] - by_p[:, :2] * back[:, None])  # eq. (generating)
    return made.transpose(0, 1)
