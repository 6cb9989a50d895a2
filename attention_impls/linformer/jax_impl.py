"""Linformer in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from attention_impls.base import Dims, check_length
from attention_impls.linformer import KEYS, VALUES, Options
from attention_impls.ops.jax_ops import real_tokens, zero_padding
from attention_impls.ops.landmarks_jax import cross_attention


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
    keys = _mix(params[KEYS], zero_padding(k, real))
    values = _mix(params[KEYS if options.share_projections else VALUES], zero_padding(v, real))
    return zero_padding(cross_attention(q, keys, values, None), real)


def _mix(weight: Float[Array, "m max_length"], x: Float[Array, "B N H D"]) -> Float[Array, "B m H D"]:
    """Mixtures of the tokens: E K."""
    return jnp.einsum("mn,bnhd->bmhd", weight[:, : x.shape[1]], x)
