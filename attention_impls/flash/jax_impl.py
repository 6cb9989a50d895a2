"""Flash attention in JAX: cuDNN, or the scores of one block at a time."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from attention_impls.base import Layer
from attention_impls.flash import Options
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.softmax_jax import flash_attention


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    if layer.kernel == "cudnn":
        # An empty example sees its first key, since no kernel defines a softmax over nothing.
        seen = None if layer.lengths is None else jnp.maximum(layer.lengths, 1).astype(jnp.int32)
        return jax.nn.dot_product_attention(
            q, k, v, query_seq_lengths=seen, key_value_seq_lengths=seen, implementation="cudnn"
        )
    return flash_attention(q, k, v, layer.real, layer.options.block_size)  # eq. (running), (output)
