"""Skyformer in PyTorch."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.gaussian_torch import gaussian_gram, gaussian_kernel
from attention_impls.ops.landmarks_torch import iterative_inverse, take_tokens
from attention_impls.ops.torch_ops import Lengths, Tokens
from attention_impls.skyformer import POINTS, Options


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    points = _sample(q, k, layer.lengths, layer.constants[POINTS])
    inverse = _inverse(points, layer.options)
    summary = gaussian_kernel(points, k).to(v.dtype) @ v.transpose(1, 2)  # eq. (kernel)
    context = (inverse @ summary.to(inverse.dtype)).to(v.dtype)
    out = gaussian_kernel(q, points).to(v.dtype) @ context  # eq. (output)
    return out.transpose(1, 2)


def _sample(q: Tokens, k: Tokens, lengths: Lengths | None, parts: Float[Tensor, " s"]) -> Float[Tensor, "B s H D"]:
    """X: tokens ⌊u · length⌋ of the queries for the first half of u, of the keys for the rest."""
    sizes = torch.full(q.shape[:1], q.shape[1], device=q.device) if lengths is None else lengths
    parts = parts.to(torch.promote_types(parts.dtype, torch.float32))
    index = torch.minimum((parts * sizes[:, None]).long(), sizes[:, None] - 1).clamp(min=0)
    half = len(parts) // 2
    return torch.cat([take_tokens(q, index[:, :half]), take_tokens(k, index[:, half:])], 1)


def _inverse(points: Float[Tensor, "B s H D"], options: Options) -> Float[Tensor, "B H s s"]:
    """(κ(X, X) + γ I)⁻¹, scaled by the row sums while it is being found."""
    matrix = gaussian_gram(points)
    identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    matrix = matrix + options.regularizer * identity
    scale = matrix.sum(-1, keepdim=True).rsqrt()
    scale = scale * scale.mT
    start = identity.expand_as(matrix)
    return scale * iterative_inverse(scale * matrix, start, options.iterations)  # eq. (inverse), (iteration)
