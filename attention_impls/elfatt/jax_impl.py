"""ELFATT in JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Float, Shaped

from attention_impls.base import Layer
from attention_impls.elfatt import Options, global_heads, tiling
from attention_impls.elfatt.tiling import Tiling
from attention_impls.ops.jax_ops import Tokens, depthwise_conv, efficient_attention, softmax_attention
from attention_impls.ops.local_conv import BIAS, WEIGHT

Heads = Float[Array, "B N h D"]
"""Some of the heads."""


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    composed = functools.partial(_composed, layer=layer)
    if layer.kernel == "composed":
        return composed(q, k, v)
    # What runs beside a GPU may still be compiled for the CPU, which only the lowering knows.
    return jax.lax.platform_dependent(q, k, v, cuda=_kernels(layer), default=composed)


def _composed(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    """All heads, the global ones first, from the framework's operations."""
    blocks, split = tiling(layer.options, layer.dims, q.shape[1]), global_heads(layer.options, layer.dims)
    if split == 0:
        return _blocked(q, k, v, layer, blocks)
    if split == layer.dims.heads:
        return _global(q, k, v, layer, blocks)
    # By `split`, whose gradient is one concatenation; slices would each be padded with zeros and added.
    (q, q_blocks), (k, k_blocks), (v, v_blocks) = (jnp.split(x, [split], 2) for x in (q, k, v))
    return jnp.concatenate([_global(q, k, v, layer, blocks), _blocked(q_blocks, k_blocks, v_blocks, layer, blocks)], 2)


def _global(q: Heads, k: Heads, v: Heads, layer: Layer[Options], blocks: Tiling) -> Heads:
    """softmax(Q)(softmax(K)ᵀ V) + L(V), L over the whole space."""
    out = efficient_attention(q, k, v, layer.real)  # eq. (global)
    if not layer.options.local_conv:
        return out
    batch, tokens, *rest = v.shape
    heads = slice(None, q.shape[2])
    conv = depthwise_conv(_to_space(v, blocks), layer.params[WEIGHT][heads], layer.params[BIAS][heads])
    return out + conv.reshape(batch, blocks.cells, *rest)[:, :tokens]


def _blocked(q: Heads, k: Heads, v: Heads, layer: Layer[Options], blocks: Tiling) -> Heads:
    """In each block softmax(Q Kᵀ / √D) V + L(V), L with zeros beyond the block's border."""
    tokens, real = q.shape[1], layer.real
    if real is None and blocks.padded_tokens != tokens:
        real = jnp.ones(q.shape[:2], bool)
    q, k, v = (_to_blocks(x, blocks) for x in (q, k, v))
    out = softmax_attention(q, k, v, None if real is None else _to_blocks(real, blocks))  # eq. (block)
    if layer.options.local_conv:
        heads, window = slice(-q.shape[2], None), v.reshape(len(v), *blocks.window, *v.shape[2:])
        conv = depthwise_conv(window, layer.params[WEIGHT][heads], layer.params[BIAS][heads])
        out = out + conv.reshape(v.shape)
    return _from_blocks(out, blocks)[:, :tokens]


def _kernels(layer: Layer[Options]) -> Callable[..., Array]:
    if layer.kernel == "jax_triton":
        from attention_impls.elfatt.triton.jax_attend import attend_fused
    else:
        from attention_impls.elfatt.pallas_attend import attend_fused  # Pallas takes a while to import

    return functools.partial(
        attend_fused,
        lengths=layer.lengths,
        conv=(layer.params[WEIGHT], layer.params[BIAS]) if layer.options.local_conv else None,
        split=global_heads(layer.options, layer.dims),
        block_size=layer.options.block_size,
    )


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
