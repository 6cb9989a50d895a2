"""Mamba in JAX. Axis W: the directions, one or two, of which the second reads the tokens from their end."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.mamba import (
    CHUNK,
    CONV,
    CONV_BIAS,
    DECAY,
    IN,
    OUT,
    SELECT,
    SKIP,
    STEP,
    STEP_BIAS,
    Options,
)
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.scan_jax import linear_scan
from attention_impls.ops.selective_jax import selective_scan

Ways = Float[Array, "W B N E"]


def attend(x: Float[Array, "B N C"], layer: Layer[Options]) -> Tokens:
    wide = jnp.promote_types(x.dtype, jnp.float32)
    params = {name: array.astype(wide) for name, array in layer.params.items()}
    u, z = jnp.split((x @ layer.params[IN]).astype(wide), 2, -1)  # eq. (input)
    v = jax.nn.silu(_causal_conv(_ways(u, layer), params))  # eq. (conv)
    if layer.real is not None:  # where a bias is all there is
        v = jnp.where(_ways(layer.real, layer)[..., None], v, 0)
    steps, states = params[STEP].shape[1], layer.options.state
    low, b, c = jnp.split(v @ params[SELECT][:, None], [steps, steps + states], -1)  # eq. (select)
    step = jax.nn.softplus(low @ params[STEP][:, None] + params[STEP_BIAS][:, None, None])  # eq. (select)
    recurrence = selective_scan if jax.default_backend() == "cpu" else _recurrence
    y = recurrence(step, step * v, -jnp.exp(params[DECAY]), b, c)  # eq. (state)
    y = y + params[SKIP][:, None, None] * v  # eq. (read)
    y = y[0] + y[1, :, ::-1] if layer.options.bidirectional else y[0]
    out = (y * jax.nn.silu(z)).astype(x.dtype) @ layer.params[OUT]  # eq. (output)
    return out.reshape(*x.shape[:2], layer.dims.heads, layer.dims.head_dim)


def _ways(x: Array, layer: Layer[Options]) -> Array:
    """(B, N, …) as each direction reads it, (W, B, N, …)."""
    return jnp.stack([x, x[:, ::-1]]) if layer.options.bidirectional else x[None]


def _causal_conv(u: Ways, params: dict[str, Array]) -> Ways:
    """Of each channel by itself, with zeros before the first token."""
    taps, tokens = params[CONV].shape[-1], u.shape[2]
    padded = jnp.pad(u, ((0, 0), (0, 0), (taps - 1, 0), (0, 0)))
    out = params[CONV_BIAS][:, None, None]
    for tap in range(taps):
        out = out + params[CONV][:, None, None, :, tap] * padded[:, :, tap : tap + tokens]
    return out


def _recurrence(
    step: Ways, driven: Ways, a: Float[Array, "W E S"], b: Float[Array, "W B N S"], c: Float[Array, "W B N S"]
) -> Ways:
    """h_i C_i with h_i = e^{step A} h_{i−1} + driven B_iᵀ, a chunk of tokens after another.

    States live as long as their chunk. For gradients they are computed again. Behind the last token no step is made.
    """
    tokens = step.shape[2]
    size = min(CHUNK, tokens)
    count = -(-tokens // size)

    def chunks(x: Array) -> Array:
        padded = jnp.pad(x, ((0, 0), (0, 0), (0, count * size - tokens), (0, 0)))
        return jnp.moveaxis(padded.reshape(*x.shape[:2], count, size, x.shape[3]), 2, 0)

    @jax.checkpoint
    def chunk(state: Array, pieces: tuple[Array, ...]) -> tuple[Array, Array]:
        step, driven, b, c = pieces
        decay = jnp.exp(step[..., None] * a[:, None, None])
        inputs = driven[..., None] * b[..., None, :]
        inputs = jnp.concatenate([inputs[:, :, :1] + decay[:, :, :1] * state[:, :, None], inputs[:, :, 1:]], 2)
        flat = (each.reshape(-1, *each.shape[2:]) for each in (decay, inputs))
        states = linear_scan(*flat).reshape(decay.shape)
        return states[:, :, -1], (states @ c[..., None])[..., 0]

    first = jnp.zeros((*step.shape[:2], *a.shape[1:]), step.dtype)
    read = jax.lax.scan(chunk, first, tuple(chunks(each) for each in (step, driven, b, c)))[1]
    return jnp.moveaxis(read, 0, 2).reshape(*step.shape[:2], -1, step.shape[3])[:, :, :tokens]
