"""S4 in JAX."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Complex, Float

from attention_impls.base import Dims, Layer
from attention_impls.ops.fourier_jax import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.pairs import times
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


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    kernels = _kernels({name: array.astype(wide) for name, array in layer.params.items()}, layer.dims)
    after, before = kernels[..., : x.shape[1]]
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)


def _kernels(params: dict[str, Array], dims: Dims) -> Float[Array, "2 C M"]:
    """Those of both directions, M lags: the inverse transform of their generating functions, made in pieces.

    A term for each pair and frequency at once would fill half a gigabyte at 256 channels, 32 pairs and 16,384 lags. For
    gradients the terms of a piece are computed again.
    """

    def each(name: str) -> Array:
        """The system of each channel."""
        return jnp.tile(params[name], (dims.width // len(params[name]), 1))

    step = jax.nn.softplus(params[STEP])[:, None]  # eq. (discrete)
    decay, turn = -jnp.exp(each(DECAY)) * step, each(FREQUENCY) * step  # Δλ
    b, p = (each(B_REAL), each(B_IMAG)), (each(P_REAL), each(P_IMAG))
    lefts = (*zip(params[C_REAL], params[C_IMAG], strict=True), (p[0], -p[1]))
    products = [times(left, right) for left in lefts for right in (b, p)]
    plain = jnp.stack([real for real, _ in products], 1)
    turned = jnp.stack([real * decay + imag * turn for real, imag in products], 1)
    weights = jnp.concatenate([plain, turned], 1) * step[:, None]
    pairs = decay.shape[1]
    halves = np.minimum(np.arange(pairs * piece(pairs, dims)), nodes(dims) - 1) * (math.pi / period(dims))
    angles = [jnp.asarray(each.reshape(pairs, -1), step.dtype) for each in (np.sin(halves), np.cos(halves))]
    made = jax.lax.map(jax.checkpoint(partial(_generating, weights, decay, turn)), angles)
    spectrum = made.transpose(1, 2, 0, 3).reshape(2, dims.width, -1)[..., : nodes(dims)]
    return jnp.fft.irfft(spectrum, period(dims))  # eq. (kernel)


def _generating(
    weights: Float[Array, "C rows n"], decay: Float[Array, "C n"], turn: Float[Array, "C n"], angles: list[Array]
) -> Complex[Array, "2 C nodes"]:
    """The generating functions at ω = e^{−2ih}, of the angles h with these sines and cosines, by sums of real numbers.

    Since 1 − ω = 2i e^{−ih} sin h and 1 + ω = 2 e^{−ih} cos h, every term is finite, at ω = −1 too:

        R 2 / (1 + ω) = e^{ih} Σ Δ v / (2i sin h − Δλ cos h)

    The sum of a pair's two terms has Re v and Re v Δλ* above |…|², which `weights` holds for each product v of `SUMS`.
    """
    sine, cosine = angles
    damped, moved = decay[..., None] * cosine, turn[..., None] * cosine
    real = jnp.square(damped) - (2 * sine - moved) * (2 * sine + moved)
    imag = -4 * sine * damped
    size = jnp.square(real) + jnp.square(imag)
    terms = jnp.stack([real / size, -imag / size], 2)
    sums = jnp.einsum("crn,cnij->crij", weights, terms, precision=jax.lax.Precision.HIGHEST)
    plain, turned = jnp.split(sums, 2, 1)
    found = jax.lax.complex(  # R 2 e^{−ih} / (1 + ω) of each product
        -2 * cosine * turned[:, :, 0] - 4 * sine * plain[:, :, 1],
        -2 * cosine * turned[:, :, 1] + 4 * sine * plain[:, :, 0],
    )
    by_b, by_p = found[:, 0::2], found[:, 1::2]
    back = cosine * by_b[:, 2] / (1 + cosine * by_p[:, 2])
    made = jax.lax.complex(cosine, sine) * (by_b[:, :2] - by_p[:, :2] * back[:, None])  # eq. (generating)
    return made.swapaxes(0, 1)
