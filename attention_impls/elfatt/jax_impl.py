"""ELFATT in JAX."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float, Int, Shaped

from attention_impls.base import Dims, check_length
from attention_impls.elfatt import Options, global_heads, tiling
from attention_impls.elfatt.kernels import fused_installed, kernel_used
from attention_impls.elfatt.tiling import Tiling
from attention_impls.ops.jax_ops import (
    depthwise_conv,
    efficient_attention,
    real_tokens,
    softmax_attention,
    zero_padding,
)
from attention_impls.ops.local_conv import BIAS, WEIGHT


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
    tokens, split = q.shape[1], global_heads(options, dims)
    check_length(tokens, dims)
    conv = (params[WEIGHT], params[BIAS]) if options.local_conv else None
    composed = functools.partial(
        _composed, lengths=lengths, conv=conv, split=split, blocks=tiling(options, dims, tokens)
    )
    if _kernel(q, options) == "composed":
        return composed(q, k, v)
    from attention_impls.elfatt.pallas_attend import attend_fused  # Pallas takes a while to import

    fused = functools.partial(attend_fused, lengths=lengths, conv=conv, split=split, block_size=options.block_size)
    # What runs beside a GPU may still be compiled for the CPU, which only the lowering knows.
    return jax.lax.platform_dependent(q, k, v, cuda=fused, default=composed)


def _kernel(q: Float[Array, "B N H D"], options: Options) -> str:
    return kernel_used(
        options.kernel,
        backend="jax",
        device=jax.default_backend(),
        dtype=q.dtype.name,
        head_dim=q.shape[-1],
        block_size=options.block_size,
        layout=options.layout,
        installed=fused_installed("jax"),
    )


def _composed(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    *,
    lengths: Int[Array, " B"] | None,
    conv: tuple[Array, Array] | None,
    split: int,
    blocks: Tiling,
) -> Float[Array, "B N H D"]:
    """All heads, the global ones first, from the framework's operations."""
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    v = zero_padding(v, real)
    # By `split`, whose gradient is one concatenation; slices would each be padded with zeros and added.
    (q, q_blocks), (k, k_blocks), (v, v_blocks) = (jnp.split(x, [split], 2) for x in (q, k, v))
    parts = []
    if q.shape[2]:
        parts.append(_global(q, k, v, real, _of(conv, slice(None, split)), blocks))
    if q_blocks.shape[2]:
        parts.append(_blocked(q_blocks, k_blocks, v_blocks, real, _of(conv, slice(split, None)), blocks))
    return zero_padding(jnp.concatenate(parts, 2) if len(parts) > 1 else parts[0], real)


def _of(conv: tuple[Array, Array] | None, heads: slice) -> tuple[Array, Array] | None:
    return None if conv is None else (conv[0][heads], conv[1][heads])


def _global(
    q: Float[Array, "B N h D"],
    k: Float[Array, "B N h D"],
    v: Float[Array, "B N h D"],
    real: Bool[Array, "B N"] | None,
    conv: tuple[Array, Array] | None,
    blocks: Tiling,
) -> Float[Array, "B N h D"]:
    """Efficient attention over all tokens, and the convolution over the whole space."""
    out = efficient_attention(q, k, v, real)
    if conv is None:
        return out
    batch, tokens, *rest = v.shape
    return out + depthwise_conv(_to_space(v, blocks), *conv).reshape(batch, blocks.cells, *rest)[:, :tokens]


def _blocked(
    q: Float[Array, "B N h D"],
    k: Float[Array, "B N h D"],
    v: Float[Array, "B N h D"],
    real: Bool[Array, "B N"] | None,
    conv: tuple[Array, Array] | None,
    blocks: Tiling,
) -> Float[Array, "B N h D"]:
    """Softmax attention inside each block, and the convolution with zeros beyond its border."""
    tokens = q.shape[1]
    if real is None and blocks.padded_tokens != tokens:
        real = jnp.ones(q.shape[:2], bool)
    q, k, v = (_to_blocks(x, blocks) for x in (q, k, v))
    out = softmax_attention(q, k, v, None if real is None else _to_blocks(real, blocks))
    if conv is not None:
        out = out + depthwise_conv(v.reshape(len(v), *blocks.window, *v.shape[2:]), *conv).reshape(v.shape)
    return _from_blocks(out, blocks)[:, :tokens]


def _to_space(x: Shaped[Array, "B N *rest"], blocks: Tiling) -> Shaped[Array, "B ..."]:
    """Tokens laid out on the space, with zeros in the cells that have no token."""
    batch, _, *rest = x.shape
    return _pad_end(x, [blocks.cells - x.shape[1]]).reshape(batch, *blocks.space, *rest)


def _to_blocks(x: Shaped[Array, "B N *rest"], blocks: Tiling) -> Shaped[Array, "Bb n *rest"]:
    """(B, N, …) -> (B·blocks, tokens of a block, …)."""
    return rearrange(_pad_end(_to_space(x, blocks), blocks.overhang), blocks.cut, **blocks.sizes)


def _from_blocks(x: Float[Array, "Bb n h D"], blocks: Tiling) -> Float[Array, "B cells h D"]:
    """The inverse of `_to_blocks`, cells without a token included."""
    x = rearrange(x, blocks.join, **blocks.sizes)
    x = x[:, *(slice(cells) for cells in blocks.space)]
    return x.reshape(len(x), blocks.cells, *x.shape[-2:])


def _pad_end(x: Array, cells: Sequence[int]) -> Array:
    """Zeros behind the axes that follow the batch; XLA drops a padding of nothing."""
    widths = [(0, 0), *((0, more) for more in cells)]
    return jnp.pad(x, widths + [(0, 0)] * (x.ndim - len(widths)))
