"""S5 in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.diagonal import B_IMAG, B_REAL, C_IMAG, C_REAL
from attention_impls.ops.diagonal_jax import diagonal_recurrence
from attention_impls.ops.gated import SKIP
from attention_impls.ops.gated_jax import gated
from attention_impls.ops.jax_ops import Tokens
from attention_impls.s5 import IMAG, LEAST_DECAY, REAL, STEP, Options


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    params = {name: array.astype(wide) for name, array in layer.params.items()}
    real = jnp.minimum(params[REAL], -LEAST_DECAY) if layer.options.clip else params[REAL]
    eigenvalues = jax.lax.complex(real, params[IMAG]).ravel()
    moved = jnp.exp(params[STEP]).ravel() * eigenvalues
    held = jnp.expm1(moved) / eigenvalues  # eq. (discrete)
    b = held[:, None] * jax.lax.complex(params[B_REAL], params[B_IMAG])
    c = 2 * jax.lax.complex(params[C_REAL], params[C_IMAG])
    read = diagonal_recurrence(x.astype(wide), jnp.exp(moved), b, c)  # eq. (state), (read)
    y = read.astype(x.dtype) + layer.params[SKIP] * x
    return gated(y, layer)  # eq. (output)
