"""Fourier transforms over tokens in PyTorch, in float32 at least. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor

from attention_impls.ops.fourier import transform_length
from attention_impls.ops.torch_ops import Lengths, real_tokens


def two_sided_conv(
    x: Float[Tensor, "B N C"], after: Float[Tensor, "C N"], before: Float[Tensor, "C N"], *, overlap: bool = False
) -> Float[Tensor, "B N C"]:
    """Each channel with its own kernel in both directions; `fourier` has the sums, x is zero at padding.

    In float32 at least, whatever the dtype of x, in which the result is.
    """
    tokens, wide = x.shape[1], torch.promote_types(x.dtype, torch.float32)
    size = transform_length(2 * tokens)
    behind = F.pad(before.to(wide).flip(-1), (size - tokens, 0))
    kernel = F.pad(after.to(wide), (0, size - tokens)) + (behind.roll(1, -1) if overlap else behind)
    spectrum = torch.fft.rfft(x.to(wide).transpose(1, 2), size) * torch.fft.rfft(kernel)
    return torch.fft.irfft(spectrum, size)[..., :tokens].transpose(1, 2).to(x.dtype)


def ragged_dft(x: Complex[Tensor, "B N C"], lengths: Lengths | None) -> Complex[Tensor, "B N C"]:
    """Σ_j x_j e^{−2πi jk / n} over the n real tokens of each example, k < n; zeros from k = n on.

    Bluestein 1970: since 2jk = j² + k² − (k − j)², it is a convolution with a chirp of n lags on either side. One FFT
    of a static length serves every n. A chirp as long as the arrays would lose digits where n is much shorter.
    """
    if lengths is None:
        return torch.fft.fft(x, dim=1)
    tokens = x.shape[1]
    size = transform_length(2 * tokens)
    chirp = _chirp(lengths, tokens, x.real.dtype)
    ahead = F.pad(chirp.conj(), (0, size - tokens))
    kernel = ahead + F.pad(chirp.conj()[:, 1:].flip(-1), (size - tokens + 1, 0))
    spectrum = torch.fft.fft((x * chirp[..., None]).transpose(1, 2), size) * torch.fft.fft(kernel)[:, None]
    return torch.fft.ifft(spectrum)[..., :tokens].transpose(1, 2) * chirp[..., None]


def _chirp(lengths: Lengths, tokens: int, dtype: torch.dtype) -> Complex[Tensor, "B N"]:
    """e^{−πi j² / n} for j < n, then zeros; j² is reduced by 2n in integers, so that long sequences lose no digit."""
    length = lengths.long().clamp(min=1)[:, None]
    turns = torch.arange(tokens, device=lengths.device) ** 2 % (2 * length)
    angle = turns.to(dtype) * (-math.pi / length.to(dtype))
    return torch.polar(real_tokens(lengths, tokens).to(dtype), angle)
