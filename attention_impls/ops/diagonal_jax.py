"""One diagonal recurrence for a whole layer in JAX. Axis letters: attention_impls/base.py, S for states."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Complex, Float

from attention_impls.ops.scan_jax import linear_scan


def diagonal_recurrence(
    x: Float[Array, "B N C"], decay: Complex[Array, " S"], b: Complex[Array, "S C"], c: Complex[Array, "way C S"]
) -> Float[Array, "B N C"]:
    """Re Σ over one or both ways of C h, h the states that λ = decay and B x make; x is zero at padding.

    Products are of real and imaginary parts side by side, which is faster than of complex numbers.
    """
    driven = x @ jnp.concatenate([b.real, b.imag]).mT
    inputs = jax.lax.complex(*jnp.split(driven, 2, -1))
    states = [linear_scan(decay[None, None], inputs, reverse=reverse) for reverse in (False, True)[: len(c)]]
    parts = jnp.concatenate([part for state in states for part in (state.real, state.imag)], -1)
    return parts @ jnp.concatenate([part for way in c for part in (way.real, -way.imag)], -1).mT
