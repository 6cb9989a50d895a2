"""A wide depthwise convolution over tokens in JAX. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.token_conv import BLOCK, band


def token_conv(v: Tokens, weight: Float[Array, "H kernel"], block: int = BLOCK) -> Tokens:
    """Σ_s weight[s] · v[i + s − ⌊kernel/2⌋], zeros beyond the ends: a head's banded matrix times windows of tokens."""
    (batch, tokens), kernel = v.shape[:2], weight.shape[1]
    blocks, side, width = -(-tokens // block), kernel // 2, block + kernel - 1
    more = -(-width // block) - 1  # blocks behind its own that a window reaches into
    end = (blocks + more) * block - side - tokens
    cut = jnp.pad(v, ((0, 0), (side, end), (0, 0), (0, 0))).reshape(batch, blocks + more, block, *v.shape[2:])
    windows = jnp.concatenate([cut[:, i : i + blocks] for i in range(more + 1)], 2)[:, :, :width]
    bands = jnp.pad(weight, ((0, 0), (0, 1)))[:, band(kernel, block)]
    out = jnp.einsum("hxw,bnwhd->bnxhd", bands, windows)
    return out.reshape(batch, blocks * block, *v.shape[2:])[:, :tokens]
