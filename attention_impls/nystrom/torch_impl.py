"""Nyströmformer in PyTorch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.nystrom import Options
from attention_impls.ops.landmarks_torch import (
    cross_attention,
    iterative_inverse,
    over_norms,
    segment_means,
    segments_with_tokens,
)
from attention_impls.ops.token_conv import FILTER
from attention_impls.ops.token_conv_torch import token_conv
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
    check_length(q.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    v = zero_padding(v, real)
    landmarks = min(options.landmarks, q.shape[1])  # more would have no tokens, and m³ is what the inverse costs
    queries, keys = (segment_means(x, lengths, landmarks) for x in (q, k))
    visible = segments_with_tokens(q, lengths, landmarks)
    matrix = _among_landmarks(queries, keys, visible)
    inverse = iterative_inverse(matrix, over_norms(matrix), options.iterations)
    summary = cross_attention(queries.to(q.dtype), k, v, real).transpose(1, 2)
    context = (inverse @ summary.to(inverse.dtype)).to(v.dtype).transpose(1, 2)
    out = cross_attention(q, keys.to(q.dtype), context, visible)
    if options.conv_kernel:
        out = out + token_conv(v, params[FILTER])
    return zero_padding(out, real)


def _among_landmarks(
    queries: Float[Tensor, "B m H D"], keys: Float[Tensor, "B m H D"], visible: Bool[Tensor, "B m"] | None
) -> Float[Tensor, "B H m m"]:
    """A, with rows and columns of zeros for empty segments, which its pseudo-inverse keeps."""
    scores = queries.transpose(1, 2) @ keys.permute(0, 2, 3, 1) / math.sqrt(queries.shape[-1])
    if visible is None:
        return scores.softmax(-1)
    scores = scores.masked_fill(~visible[:, None, None, :], torch.finfo(scores.dtype).min)
    return scores.softmax(-1).masked_fill(~visible[:, None, :, None], 0.0)
