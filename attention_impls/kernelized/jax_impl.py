"""Kernelized attention in JAX."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float, Int

from attention_impls.base import Dims, check_length
from attention_impls.kernelized import Options
from attention_impls.ops.gaussian_jax import gaussian_kernel
from attention_impls.ops.jax_ops import real_tokens, zero_padding


def attend(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    *,
    lengths: Int[Array, " B"] | None,
    params: dict[str, Array],
    constants: dict[str, Array],
    options: Options,
    dims: Dims,
) -> Float[Array, "B N H D"]:
    check_length(q.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    q, k, v = (zero_padding(x, real) for x in (q, k, v))
    out = gaussian_kernel(q, k).astype(v.dtype) @ v.swapaxes(1, 2)
    return zero_padding(out.swapaxes(1, 2), real)
