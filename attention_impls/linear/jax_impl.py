"""Linear attention in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from attention_impls.base import Layer
from attention_impls.linear import EPSILON, Options
from attention_impls.ops.jax_ops import depthwise_conv, zero_padding
from attention_impls.ops.local_conv import BIAS, WEIGHT


def attend(
    q: Float[Array, "B N H D"], k: Float[Array, "B N H D"], v: Float[Array, "B N H D"], layer: Layer[Options]
) -> Float[Array, "B N H D"]:
    out = _attention(q, k, v, layer.real)
    if layer.options.local_conv:
        out = out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])
    return out


def _attention(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    real: Bool[Array, "B N"] | None,
) -> Float[Array, "B N H D"]:
    # Heads first: XLA's products are twice as fast on a CPU.
    queries, keys, v = (x.swapaxes(1, 2) for x in (_features(q), zero_padding(_features(k), real), v))
    total = queries @ keys.sum(2)[..., None]
    return (queries @ (keys.mT @ v) / (total + EPSILON)).swapaxes(1, 2)


def _features(x: Float[Array, "B N H D"]) -> Float[Array, "B N H D"]:
    """elu(x) + 1, written so that the 1 does not round small features away."""
    positive = jax.nn.relu(x)
    return positive + jnp.exp(x - positive)
