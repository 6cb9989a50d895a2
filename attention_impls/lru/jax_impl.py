"""The LRU in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.lru import DECAY, GAIN, PHASE, Options
from attention_impls.ops.diagonal import B_IMAG, B_REAL, C_IMAG, C_REAL
from attention_impls.ops.diagonal_jax import diagonal_recurrence
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    params = {name: array.astype(wide) for name, array in layer.params.items()}
    decay = jnp.exp(jax.lax.complex(-jnp.exp(params[DECAY]), jnp.exp(params[PHASE])))  # eq. (decay)
    b = jnp.exp(params[GAIN])[:, None] * jax.lax.complex(params[B_REAL], params[B_IMAG])
    c = jax.lax.complex(params[C_REAL], params[C_IMAG])
    read = diagonal_recurrence(x.astype(wide), decay, b, c)  # eq. (state), (read)
    y = read.astype(x.dtype) + layer.params[SKIP] * x
    return gated(y, layer)  # eq. (output)
