"""Local attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.local import Options
from attention_impls.ops.blocks_torch import block_attention, from_blocks, real_blocks, to_blocks
from attention_impls.ops.torch_ops import real_tokens, zero_padding


def attend(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    *,
    lengths: Int[Tensor, " B"] | None,
    params: dict[str, Tensor],
    constants: dict[str, Tensor],
    options: Options,
    dims: Dims,
) -> Float[Tensor, "B N H D"]:
    tokens = q.shape[1]
    check_length(tokens, dims)
    size = min(options.block_size, tokens)
    real = None if lengths is None else real_tokens(lengths, tokens)
    whole = real is None and tokens % size == 0
    visible = None if whole else real_blocks(real, tokens, size, q.device)[:, :, None]
    q, k, v = (to_blocks(x, size) for x in (q, k, zero_padding(v, real)))
    return zero_padding(from_blocks(block_attention(q, k, v, visible), tokens), real)
