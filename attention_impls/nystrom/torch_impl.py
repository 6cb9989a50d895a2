"""Nyströmformer in PyTorch."""

from __future__ import annotations

import math

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from attention_impls.base import Layer
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
from attention_impls.ops.torch_ops import Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    landmarks = min(layer.options.landmarks, q.shape[1])  # more would have no tokens, and m³ is what the inverse costs
    queries, keys = (segment_means(x, layer.lengths, landmarks) for x in (q, k))  # eq. (landmarks)
    visible = segments_with_tokens(q, layer.lengths, landmarks)
    matrix = _among_landmarks(queries, keys, visible)  # eq. (core)
    inverse = iterative_inverse(matrix, over_norms(matrix), layer.options.iterations)  # eq. (inverse)
    summary = cross_attention(queries.to(q.dtype), k, v, layer.real).transpose(1, 2)
    context = (inverse @ summary.to(inverse.dtype)).to(v.dtype).transpose(1, 2)
    out = cross_attention(q, keys.to(q.dtype), context, visible)  # eq. (output)
    if layer.options.conv_kernel:
        out = out + token_conv(v, layer.params[FILTER])
    return out


def _among_landmarks(
    queries: Float[Tensor, "B m H D"], keys: Float[Tensor, "B m H D"], visible: Bool[Tensor, "B m"] | None
) -> Float[Tensor, "B H m m"]:
    """A, with rows and columns of zeros for empty segments, which its pseudo-inverse keeps."""
    scores = queries.transpose(1, 2) @ rearrange(keys, "B m H D -> B H D m") / math.sqrt(queries.shape[-1])
    if visible is None:
        return scores.softmax(-1)
    scores = scores.masked_fill(~visible[:, None, None, :], torch.finfo(scores.dtype).min)
    return scores.softmax(-1).masked_fill(~visible[:, None, :, None], 0.0)
