"""S4D in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.fourier import piece
from attention_impls.ops.fourier_jax import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.pairs import Pair, times
from attention_impls.s4d import B_IMAG, B_REAL, C_IMAG, C_REAL, DECAY, FREQUENCY, STEP, Options


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    after, before = _kernels({name: array.astype(wide) for name, array in layer.params.items()}, x.shape[1])
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)


def _kernels(params: dict[str, Array], tokens: int) -> Float[Array, "2 C N"]:
    """Those of both directions. e^{Δλ(j·p + i)} is a power in j times one in i; the sum over n is a matrix product.

    A power for each state and lag at once would fill a gigabyte at 256 channels, 32 pairs and 16,384 lags.
    """
    size = piece(tokens)
    step = jnp.exp(params[STEP])[:, None]
    decay, turn = -jnp.exp(params[DECAY]), params[FREQUENCY]  # λ
    inputs = times((params[B_REAL], params[B_IMAG]), _held(decay, turn, step))  # eq. (discrete)
    weights = times((params[C_REAL], params[C_IMAG]), inputs)
    within = _powers(decay * step, turn * step, jnp.arange(size))
    starts = _powers(decay * step, turn * step, size * jnp.arange(-(-tokens // size)))
    real, imag = times((weights[0][..., None], weights[1][..., None]), starts)
    parts = jnp.concatenate([real, -imag], 2), jnp.concatenate(within, 1)
    pieces = jnp.einsum("dcnj,cni->dcji", *parts, precision=jax.lax.Precision.HIGHEST)
    return 2 * pieces.reshape(*pieces.shape[:2], -1)[..., :tokens]  # eq. (kernel)


def _held(decay: Array, turn: Array, step: Array) -> Pair:
    """(e^{Δλ} − 1) / λ, without the loss of digits of that difference."""
    grown = jnp.exp(decay * step)
    real = jnp.expm1(decay * step) * jnp.cos(turn * step) - 2 * jnp.square(jnp.sin(turn * step / 2))
    imag = grown * jnp.sin(turn * step)
    size = jnp.square(decay) + jnp.square(turn)
    return times((real, imag), (decay / size, -turn / size))


def _powers(decay: Float[Array, "C n"], turn: Float[Array, "C n"], lags: Array) -> Pair:
    """e^{Δλ l} for each of the lags, (C, n, lags)."""
    size, angle = jnp.exp(decay[..., None] * lags), turn[..., None] * lags
    return size * jnp.cos(angle), size * jnp.sin(angle)
