"""Linformer in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.linformer import KEYS, VALUES, Options
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.landmarks_jax import cross_attention


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    keys = _mix(layer.params[KEYS], k)  # eq. (mix)
    values = _mix(layer.params[KEYS if layer.options.share_projections else VALUES], v)  # eq. (mix)
    return cross_attention(q, keys, values, None)  # eq. (output)


def _mix(weight: Float[Array, "m max_length"], x: Tokens) -> Float[Array, "B m H D"]:
    """Mixtures of the tokens: E K."""
    return jnp.einsum("mn,bnhd->bmhd", weight[:, : x.shape[1]], x)
