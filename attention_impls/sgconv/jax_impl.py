"""SGConv in JAX."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.fourier_jax import two_sided_conv
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens
from attention_impls.sgconv import KERNEL, Options, between, needed


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    pieces = [
        size * _stretched(layer.params[f"{KERNEL}.{number}"].astype(wide), factor)
        for number, (size, factor) in enumerate(needed(layer.options, layer.dims, x.shape[1]))
    ]
    after, before = jnp.concatenate(pieces, 2)[..., : x.shape[1]]  # eq. (kernel)
    y = two_sided_conv(x, after, before) + layer.params[SKIP] * x  # eq. (conv)
    return gated(y, layer)  # eq. (output)


def _stretched(taps: Float[Array, "2 C taps"], factor: int) -> Float[Array, "2 C lags"]:
    """Linear interpolation to so many times as many points, flat beyond the outer taps; to none, for a factor of 0."""
    way = between(factor)
    own, back, on = (
        jnp.asarray(each, taps.dtype) for each in (1 - np.abs(way), np.maximum(-way, 0), np.maximum(way, 0))
    )
    last = jnp.concatenate([taps[..., :1], taps[..., :-1]], 2)[..., None]
    following = jnp.concatenate([taps[..., 1:], taps[..., -1:]], 2)[..., None]
    return (taps[..., None] * own + last * back + following * on).reshape(*taps.shape[:2], -1)
