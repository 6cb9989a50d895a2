"""What mechanisms with a feature map φ share in JAX: similarity φ(q)·φ(k), so that no N × N array is needed."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.ops.jax_ops import Tokens


def heads_first(x: Tokens) -> Float[Array, "B H N D"]:
    """(B, H, N, D), in float32 at least: features are exponentials, powers and quotients."""
    return x.swapaxes(1, 2).astype(jnp.promote_types(x.dtype, jnp.float32))


def factored_attention(
    queries: Float[Array, "B H N F"], keys: Float[Array, "B H N F"], v: Float[Array, "B H N D"]
) -> tuple[Float[Array, "B H N D"], Float[Array, "B H N 1"]]:
    """Σ_j s_ij v_j and Σ_j s_ij for s_ij = queries_i · keys_j; keys are zero at padded tokens."""
    return queries @ (keys.mT @ v), queries @ keys.sum(2)[..., None]
