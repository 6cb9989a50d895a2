"""Local attention in JAX."""

from __future__ import annotations

from jax import Array
from jaxtyping import Float, Int

from attention_impls.base import Dims, check_length
from attention_impls.local import Options
from attention_impls.ops.blocks_jax import block_attention, from_blocks, real_blocks, to_blocks
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
    tokens = q.shape[1]
    check_length(tokens, dims)
    size = min(options.block_size, tokens)
    real = None if lengths is None else real_tokens(lengths, tokens)
    whole = real is None and tokens % size == 0
    visible = None if whole else real_blocks(real, tokens, size)[:, :, None]
    q, k, v = (to_blocks(x, size) for x in (q, k, zero_padding(v, real)))
    return zero_padding(from_blocks(block_attention(q, k, v, visible), tokens), real)
