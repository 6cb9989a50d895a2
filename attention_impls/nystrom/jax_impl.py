"""Nyströmformer in JAX."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from einops import rearrange
from jax import Array
from jaxtyping import Bool, Float

from attention_impls.base import Layer
from attention_impls.nystrom import Options
from attention_impls.ops.jax_ops import Tokens
from attention_impls.ops.landmarks_jax import (
    cross_attention,
    iterative_inverse,
    over_norms,
    segment_means,
    segments_with_tokens,
)
from attention_impls.ops.token_conv import FILTER
from attention_impls.ops.token_conv_jax import token_conv


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    landmarks = min(layer.options.landmarks, q.shape[1])  # more would have no tokens, and m³ is what the inverse costs
    queries, keys = (segment_means(x, layer.lengths, landmarks) for x in (q, k))  # eq. (landmarks)
    visible = segments_with_tokens(q, layer.lengths, landmarks)
    matrix = _among_landmarks(queries, keys, visible)  # eq. (core)
    inverse = iterative_inverse(matrix, over_norms(matrix), layer.options.iterations)  # eq. (inverse)
    summary = cross_attention(queries.astype(q.dtype), k, v, layer.real).swapaxes(1, 2)
    context = (inverse @ summary.astype(inverse.dtype)).astype(v.dtype).swapaxes(1, 2)
    out = cross_attention(q, keys.astype(q.dtype), context, visible)  # eq. (output)
    if layer.options.conv_kernel:
        out = out + token_conv(v, layer.params[FILTER])
    return out


def _among_landmarks(
    queries: Float[Array, "B m H D"], keys: Float[Array, "B m H D"], visible: Bool[Array, "B m"] | None
) -> Float[Array, "B H m m"]:
    """A, with rows and columns of zeros for empty segments, which its pseudo-inverse keeps."""
    scores = queries.swapaxes(1, 2) @ rearrange(keys, "B m H D -> B H D m") / math.sqrt(queries.shape[-1])
    if visible is None:
        return jax.nn.softmax(scores, -1)
    scores = jnp.where(visible[:, None, None, :], scores, jnp.finfo(scores.dtype).min)
    return jnp.where(visible[:, None, :, None], jax.nn.softmax(scores, -1), 0)
