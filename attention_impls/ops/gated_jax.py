"""GELU and a gated linear unit in JAX. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.gated import BIAS, WEIGHT
from attention_impls.ops.jax_ops import Tokens


def gated(y: Float[Array, "B N C"], layer: Layer[Any]) -> Tokens:
    """GELU(y), the layer's dropout, and where `options.glu` is on a·σ(b) with (a, b) = W y + c; C as heads."""
    wide = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    y = (0.5 * wide * (1 + jax.lax.erf(wide * math.sqrt(0.5)))).astype(y.dtype)
    y = y if layer.drop is None else layer.drop(y)
    if layer.options.glu:
        y = jax.nn.glu(y @ layer.params[WEIGHT] + layer.params[BIAS])
    return y.reshape(*y.shape[:2], layer.dims.heads, layer.dims.head_dim)
