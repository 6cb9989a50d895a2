"""Kernelized attention in JAX."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.kernelized import Options
from attention_impls.ops.gaussian_jax import gaussian_kernel


def attend(
    q: Float[Array, "B N H D"], k: Float[Array, "B N H D"], v: Float[Array, "B N H D"], layer: Layer[Options]
) -> Float[Array, "B N H D"]:
    out = gaussian_kernel(q, k).astype(v.dtype) @ v.swapaxes(1, 2)
    return out.swapaxes(1, 2)
