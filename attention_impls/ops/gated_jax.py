"""GELU and a gated linear unit in JAX. Axis letters: attention_impls/base.py."""

from __future__ import annotations

from typing import Any

import jax
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.gated import BIAS, WEIGHT, unit
from attention_impls.ops.jax_ops import Tokens, gelu


def gated(y: Float[Array, "B N C"], layer: Layer[Any]) -> Tokens:
    """g = GELU(y), the layer's dropout, and where `options.glu` is on a·σ(b) with (a, b) = W g + c; C as heads.

    Half a unit has b = W g + c alone, and g or y as a.
    """
    kind, g = unit(layer.options), gelu(y)
    g = g if layer.drop is None else layer.drop(g)
    if kind == "full":
        g = jax.nn.glu(g @ layer.params[WEIGHT] + layer.params[BIAS])
    elif kind != "none":
        g = (g if kind == "half1" else y) * jax.nn.sigmoid(g @ layer.params[WEIGHT] + layer.params[BIAS])
    return g.reshape(*y.shape[:2], layer.dims.heads, layer.dims.head_dim)
