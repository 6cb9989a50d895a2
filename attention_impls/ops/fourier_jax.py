"""Fourier transforms over tokens in JAX, in float32 at least. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Complex, Float

from attention_impls.ops.fourier import transform_length
from attention_impls.ops.jax_ops import Lengths, real_tokens


def two_sided_conv(
    x: Float[Array, "B N C"], after: Float[Array, "C N"], before: Float[Array, "C N"], *, overlap: bool = False
) -> Float[Array, "B N C"]:
    """Each channel with its own kernel in both directions; `fourier` has the sums, x is zero at padding.

    In float32 at least, whatever the dtype of x, in which the result is.
    """
    tokens, wide = x.shape[1], jnp.promote_types(x.dtype, jnp.float32)
    size = transform_length(2 * tokens)
    behind = jnp.pad(before.astype(wide)[:, ::-1], ((0, 0), (size - tokens, 0)))
    kernel = jnp.pad(after.astype(wide), ((0, 0), (0, size - tokens))) + (jnp.roll(behind, 1, 1) if overlap else behind)
    spectrum = jnp.fft.rfft(x.astype(wide).swapaxes(1, 2), size) * jnp.fft.rfft(kernel)
    return jnp.fft.irfft(spectrum, size)[..., :tokens].swapaxes(1, 2).astype(x.dtype)


def ragged_dft(x: Complex[Array, "B N C"], lengths: Lengths | None) -> Complex[Array, "B N C"]:
    """Σ_j x_j e^{−2πi jk / n} over the n real tokens of each example, k < n; zeros from k = n on.

    Bluestein 1970: since 2jk = j² + k² − (k − j)², it is a convolution with a chirp of n lags on either side. One FFT
    of a static length serves every n. A chirp as long as the arrays would lose digits where n is much shorter.
    """
    if lengths is None:
        return jnp.fft.fft(x, axis=1)
    tokens = x.shape[1]
    size = transform_length(2 * tokens)
    chirp = _chirp(lengths, tokens, x.real.dtype)
    ahead = jnp.pad(chirp.conj(), ((0, 0), (0, size - tokens)))
    kernel = ahead + jnp.pad(chirp.conj()[:, :0:-1], ((0, 0), (size - tokens + 1, 0)))
    spectrum = jnp.fft.fft((x * chirp[..., None]).swapaxes(1, 2), size) * jnp.fft.fft(kernel)[:, None]
    return jnp.fft.ifft(spectrum)[..., :tokens].swapaxes(1, 2) * chirp[..., None]


def _chirp(lengths: Lengths, tokens: int, dtype: jnp.dtype) -> Complex[Array, "B N"]:
    """e^{−πi j² / n} for j < n, then zeros; j² is reduced by 2n in integers, so that long sequences lose no digit.

    The square of every token's number up to 65,535 fits in the 32 bits that JAX has without a switch.
    """
    length = jnp.maximum(lengths, 1).astype(jnp.uint32)[:, None]
    turns = jnp.arange(tokens, dtype=jnp.uint32) ** 2 % (2 * length)
    angle = turns.astype(dtype) * (-math.pi / length.astype(dtype))
    real = real_tokens(lengths, tokens)
    return jax.lax.complex(jnp.where(real, jnp.cos(angle), 0), jnp.where(real, jnp.sin(angle), 0))
