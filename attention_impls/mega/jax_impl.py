"""Mega in JAX."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.mega import (
    ALPHA,
    BASE,
    BETA,
    DELTA,
    GAMMA,
    GATED,
    MEAN,
    OFFSET,
    OMEGA,
    POSITIONS,
    SCALE,
    SPREAD,
    VALUE,
    Options,
    block,
    hidden,
    reach,
)
from attention_impls.ops.blocks_jax import from_blocks, real_blocks, to_blocks
from attention_impls.ops.fourier import piece
from attention_impls.ops.fourier_jax import two_sided_conv
from attention_impls.ops.jax_ops import Tokens, softmax


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    params, width = layer.params, layer.dims.width
    stream = x if layer.residual is None else layer.residual
    after, before = _kernels(params, x, reach(layer.options, x.shape[1]))
    moved = jax.nn.silu(two_sided_conv(x, after, before, overlap=True) + params[OMEGA] * x)  # eq. (moved)
    ends = np.cumsum([width, layer.options.shared, hidden(layer.options, layer.dims)])
    update, shared, reset, candidate = jnp.split(_dense(moved, BASE, layer), ends, 2)
    value, shared, reset = (jax.nn.silu(each) for each in (_dense(x, VALUE, layer), shared, reset))  # eq. (base)
    query, key = (shared * params[SCALE][i] + params[OFFSET][i] for i in (0, 1))  # eq. (base)
    seen = _attention(query, key, value, layer)
    found = jax.nn.silu(candidate + _dense(seen * reset, GATED, layer))  # eq. (output)
    found = found if layer.drop is None else layer.drop(found)
    out = jax.nn.sigmoid(update) * (found - stream)  # eq. (output)
    return out.reshape(*x.shape[:2], layer.dims.heads, layer.dims.head_dim)


def _kernels(params: dict[str, Array], x: Float[Array, "B N C"], lags: int) -> Float[Array, "2 C N"]:
    """Those of both directions, zeros behind the last lag. q^{jp + i} is a power in j times one in i."""
    wide, tokens = jnp.promote_types(x.dtype, jnp.float32), x.shape[1]
    alpha, delta, beta, gamma = (params[name].astype(wide) for name in (ALPHA, DELTA, BETA, GAMMA))
    size = piece(lags)
    share = jax.nn.sigmoid(delta)
    kept = jnp.log1p(-share * jax.nn.sigmoid(alpha))[..., None]  # log q
    weight = gamma * share * beta / math.sqrt(gamma.shape[2])
    starts = weight[..., None] * jnp.exp(kept * (size * jnp.arange(-(-lags // size))))
    within = jnp.exp(kept * jnp.arange(size))
    pieces = jnp.einsum("dcnj,dcni->dcji", starts, within, precision=jax.lax.Precision.HIGHEST)
    made = pieces.reshape(*pieces.shape[:2], -1)[..., :lags]
    return jnp.pad(made, ((0, 0), (0, 0), (0, tokens - lags)))  # eq. (average)


def _attention(
    query: Float[Array, "B N s"], key: Float[Array, "B N s"], value: Float[Array, "B N h"], layer: Layer[Options]
) -> Float[Array, "B N h"]:
    tokens = query.shape[1]
    size = block(layer.options, tokens)
    real = real_blocks(layer.real, tokens, size)[:, :, None]
    query, key, value = (to_blocks(x, size) for x in (query, key, value))
    scores, bias = jnp.einsum("bnis,bnjs->bnij", query, key), _toeplitz(layer.params[POSITIONS], size)
    if layer.options.weights == "softmax":
        scores = scores / math.sqrt(layer.options.shared) + bias
        weights = softmax(jnp.where(real, scores, jnp.finfo(scores.dtype).min), 3)  # eq. (attention)
    else:
        count = jnp.maximum(real.sum(3, keepdims=True), 1).astype(scores.dtype)
        found = 0.5 + 0.5 * jax.lax.erf((scores / count + bias - MEAN) / (SPREAD * math.sqrt(2)))
        weights = jnp.where(real, found, 0)  # eq. (attention)
    return from_blocks(jnp.einsum("bnij,bnjh->bnih", weights, value), tokens)


def _toeplitz(positions: Float[Array, " lags"], size: int) -> Float[Array, "size size"]:
    """The number of each j − i. Rows of one number less than a period shift by one, so that nothing is gathered."""
    middle = len(positions) // 2
    near = positions[middle - size + 1 : middle + size]
    turned = jnp.roll(jnp.pad(near, (0, 1)), 1 - size)
    return jnp.tile(turned, size)[: size * (2 * size - 1)].reshape(size, -1)[:, :size]


def _dense(x: Float[Array, "B N inputs"], name: str, layer: Layer[Options]) -> Float[Array, "B N outputs"]:
    return x @ layer.params[f"{name}.weight"] + layer.params[f"{name}.bias"]
