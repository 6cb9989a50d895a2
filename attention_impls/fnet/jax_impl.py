"""FNet in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.fnet import Options
from attention_impls.ops.fourier_jax import ragged_dft
from attention_impls.ops.jax_ops import Tokens


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    mixed = jnp.fft.fft(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis=2)
    out = ragged_dft(mixed, layer.lengths).real  # eq. (output)
    return out.astype(x.dtype).reshape(*x.shape[:2], layer.dims.heads, layer.dims.head_dim)
