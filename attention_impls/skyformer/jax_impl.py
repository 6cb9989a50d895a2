"""Skyformer in JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.gaussian_jax import gaussian_gram, gaussian_kernel
from attention_impls.ops.jax_ops import Lengths, Tokens
from attention_impls.ops.landmarks_jax import iterative_inverse, take_tokens
from attention_impls.skyformer import POINTS, Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    points = _sample(q, k, layer.lengths, layer.constants[POINTS])
    inverse = _inverse(points, layer.options)
    summary = gaussian_kernel(points, k).astype(v.dtype) @ v.swapaxes(1, 2)  # eq. (kernel)
    context = (inverse @ summary.astype(inverse.dtype)).astype(v.dtype)
    out = gaussian_kernel(q, points).astype(v.dtype) @ context  # eq. (output)
    return out.swapaxes(1, 2)


def _sample(q: Tokens, k: Tokens, lengths: Lengths | None, parts: Float[Array, " s"]) -> Float[Array, "B s H D"]:
    """X: tokens ⌊u · length⌋ of the queries for the first half of u, of the keys for the rest."""
    sizes = (jnp.full(q.shape[0], q.shape[1]) if lengths is None else lengths)[:, None]
    parts = parts.astype(jnp.promote_types(parts.dtype, jnp.float32))
    index = jnp.clip((parts * sizes).astype(int), 0, jnp.maximum(sizes - 1, 0))
    half = len(parts) // 2
    return jnp.concatenate([take_tokens(q, index[:, :half]), take_tokens(k, index[:, half:])], 1)


def _inverse(points: Float[Array, "B s H D"], options: Options) -> Float[Array, "B H s s"]:
    """(κ(X, X) + γ I)⁻¹, scaled by the row sums while it is being found."""
    matrix = gaussian_gram(points)
    identity = jnp.eye(matrix.shape[-1], dtype=matrix.dtype)
    matrix = matrix + options.regularizer * identity
    scale = jax.lax.rsqrt(matrix.sum(-1, keepdims=True))
    scale = scale * scale.mT
    start = jnp.broadcast_to(identity, matrix.shape)
    return scale * iterative_inverse(scale * matrix, start, options.iterations)  # eq. (inverse), (iteration)
