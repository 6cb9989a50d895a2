"""ELFATT fused on a GPU, in Pallas: a custom derivative around the kernels of block heads and of global heads.

The kernels write their heads of the same (B, N, H, D) arrays, the second into what the first wrote.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from attention_impls.elfatt import pallas_block, pallas_global
from attention_impls.elfatt.pallas_tiles import Conv, TilePlan


def attend_fused(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    *,
    lengths: Int[Array, " B"] | None,
    conv: tuple[Float[Array, "H D 3"], Float[Array, "H D"]] | None,
    split: int,
    block_size: int,
    interpret: bool = False,
) -> Float[Array, "B N H D"]:
    """What `attend` computes in the 1d layout, with heads before `split` global; D a power of two from 16 to 128.

    interpret: run the kernels in Pallas' interpreter, which any device can.
    """
    batch, tokens, heads, head_dim = q.shape
    plan = TilePlan(
        batch=batch,
        tokens=tokens,
        heads=heads,
        head_dim=head_dim,
        itemsize=q.dtype.itemsize,
        split=split,
        block=min(block_size, tokens),
        interpret=interpret,
    )
    real = jnp.full(batch, tokens, jnp.int32) if lengths is None else lengths.astype(jnp.int32)
    return _attend(plan, q, k, v, () if conv is None else conv, real)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(plan: TilePlan, q: Array, k: Array, v: Array, conv: Conv, lengths: Array) -> Array:
    return _forward(plan, q, k, v, conv, lengths)[0]


def _forward(plan: TilePlan, q: Array, k: Array, v: Array, conv: Conv, lengths: Array) -> tuple[Array, Any]:
    out: Any = jax.ShapeDtypeStruct(v.shape, v.dtype)
    found = None
    if plan.split < plan.heads:
        out = pallas_block.forward(plan, q, k, v, conv, lengths, out)
    if plan.split > 0:
        found = pallas_global.context(plan, k, v, lengths)
        out = pallas_global.forward(plan, q, v, conv, lengths, found, out)
    return out, (q, k, v, conv, lengths, found)


def _backward(plan: TilePlan, kept: Any, do: Array) -> tuple[Array, Array, Array, Conv, None]:
    q, k, v, conv, lengths, found = kept
    grads: list[Any] = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (q, k, v)]
    by_conv = []
    if plan.split < plan.heads:
        grads, sums = pallas_block.backward(plan, q, k, v, conv, lengths, do, grads)
        by_conv = [sums]
    if plan.split > 0:
        grads, sums = pallas_global.backward(plan, q, k, v, conv, lengths, found, do, grads)
        by_conv = [sums, *by_conv]
    dq, dk, dv = grads
    return dq, dk, dv, _conv_gradients(conv, by_conv), None


def _conv_gradients(conv: Conv, sums: list[Any]) -> Conv:
    """Of weight (H, D, 3) and bias (H, D), from dw₀, dw₁, dw₂, dβ of each group of heads, in the order of the heads."""
    if not conv:
        return ()
    weight, bias = conv
    total = jnp.concatenate(sums)
    return total[:, :3].swapaxes(1, 2).astype(weight.dtype), total[:, 3].astype(bias.dtype)


_attend.defvjp(_forward, _backward)
