"""Shared pieces of the JAX implementations. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int


def real_tokens(lengths: Int[Array, " B"], tokens: int) -> Bool[Array, "B N"]:
    """True where a token is real."""
    return jnp.arange(tokens) < lengths[:, None]


def zero_padding(x: Float[Array, "B N H D"], real: Bool[Array, "B N"] | None) -> Float[Array, "B N H D"]:
    """x with zeros at padded tokens; None says that there are none."""
    return x if real is None else jnp.where(real[:, :, None, None], x, 0)


def softmax(x: Float[Array, "*shape"], axis: int) -> Float[Array, "*shape"]:
    """Softmax with float32 statistics at least, in the dtype of x."""
    return jax.nn.softmax(x.astype(jnp.promote_types(x.dtype, jnp.float32)), axis).astype(x.dtype)


def softmax_attention(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    real: Bool[Array, "B N"] | None,
) -> Float[Array, "B N H D"]:
    """softmax(q kᵀ / √D) v over real keys, every step written out. Rows of padded queries are not zeroed.

    For short rows (blocks), where the scores fit in memory. A finite fill keeps the softmax over no key finite.
    """
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum("bnhd,bmhd->bhnm", q, k, preferred_element_type=wide) / math.sqrt(q.shape[-1])
    if real is not None:
        scores = jnp.where(real[:, None, None, :], scores, jnp.finfo(wide).min)
    return jnp.einsum("bhnm,bmhd->bnhd", jax.nn.softmax(scores, -1).astype(q.dtype), v)


def fused_softmax_attention(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    lengths: Int[Array, " B"] | None,
) -> Float[Array, "B N H D"]:
    """softmax(q kᵀ / √D) v over real keys by the library; its softmax is float32 whatever the inputs' dtype.

    cuDNN's flash attention serves 16-bit inputs on a GPU. An empty example sees its first key, since no kernel defines
    a softmax over nothing. Rows of padded queries are not zeroed.
    """
    visible = None if lengths is None else jnp.maximum(lengths, 1).astype(jnp.int32)
    return jax.nn.dot_product_attention(q, k, v, key_value_seq_lengths=visible, implementation=_implementation(q))


def _implementation(q: Array) -> Literal["cudnn", "xla"]:
    half = q.dtype in (jnp.bfloat16, jnp.float16)
    fits = q.shape[-1] % 8 == 0 and q.shape[-1] <= 128 and q.shape[1] % 2 == 0
    return "cudnn" if half and fits and jax.default_backend() == "gpu" else "xla"


def efficient_attention(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    real: Bool[Array, "B N"] | None,
) -> Float[Array, "B N H D"]:
    """softmax over features(q) · (softmax over real tokens(k)ᵀ v): Shen et al. 2021.

    A finite fill keeps the softmax over no token at all finite. Rows of padded queries are not zeroed.
    """
    if real is not None:
        k = jnp.where(real[:, :, None, None], k, jnp.finfo(k.dtype).min)
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))  # heads first: XLA's products are twice as fast on a CPU
    context = softmax(k, 2).mT @ v
    return (softmax(q, 3) @ context).swapaxes(1, 2)


def depthwise_conv(
    v: Float[Array, "B *space H D"], weight: Float[Array, "H D *taps"], bias: Float[Array, "H D"]
) -> Float[Array, "B *space H D"]:
    """Convolution of three taps along each axis of `space`, every channel by itself, zeros beyond the ends.

    Shifted multiply-adds in the layout of the tokens, which XLA fuses into one pass.
    """
    space = v.shape[1:-2]
    padded = jnp.pad(v, ((0, 0), *(((1, 1),) * len(space)), (0, 0), (0, 0)))
    out = jnp.broadcast_to(bias, v.shape)
    for shift in itertools.product(range(3), repeat=len(space)):
        window = tuple(slice(first, first + size) for first, size in zip(shift, space, strict=True))
        out = out + padded[:, *window] * weight[..., *shift]
    return out
