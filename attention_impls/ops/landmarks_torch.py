"""A few summary tokens in place of many, in PyTorch: segment means, attention to or from them, a small inverse.

Axis letters: attention_impls/base.py, and m for the summary tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_impls.ops.torch_ops import Lengths, Tokens


def cross_attention(
    q: Float[Tensor, "B n H D"],
    k: Float[Tensor, "B m H D"],
    v: Float[Tensor, "B m H D"],
    visible: Bool[Tensor, "B m"] | None,
    bias: Float[Tensor, "_ H n m"] | None = None,
) -> Float[Tensor, "B n H D"]:
    """softmax(q kᵀ / √D + bias) v over visible keys; queries and keys of any two counts.

    Fused on a GPU only. The CPU's fused kernel computes its softmax again in the backward pass, with other roundings.
    For scores of 1e6 its gradients are wrong. If no key is visible, all are used, since a softmax over nothing is NaN.
    """
    visible = None if visible is None else (visible | ~visible.any(1, keepdim=True))[:, None, None, :]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    if q.is_cuda:
        masked = bias if bias is None or visible is None else bias.masked_fill(~visible, -math.inf)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=visible if masked is None else masked).transpose(1, 2)
    scores = (q / math.sqrt(q.shape[-1])) @ k.mT
    if bias is not None:
        scores += bias
    if visible is not None:
        scores.masked_fill_(~visible, -math.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2)


def take_tokens(x: Tokens, index: Int[Tensor, "B m"]) -> Float[Tensor, "B m H D"]:
    """Tokens of each example, by number."""
    batch, tokens = x.shape[:2]
    index = index + tokens * torch.arange(batch, device=x.device)[:, None]
    return x.flatten(0, 1).index_select(0, index.flatten()).unflatten(0, (batch, -1))


def segment_sizes(lengths: Lengths, count: int) -> tuple[Int[Tensor, "B m"], Int[Tensor, "B m"]]:
    """First token and tokens of each segment: segment i of m is ⌊i·length/m⌋ … ⌊(i+1)·length/m⌋ − 1, maybe empty."""
    edges = torch.arange(count + 1, device=lengths.device) * lengths[:, None].long() // count
    return edges[:, :-1], edges.diff(dim=1)


def segments_with_tokens(x: Tokens, lengths: Lengths | None, count: int) -> Bool[Tensor, "B m"] | None:
    """Which of the segments of x hold a token; None where all do, whatever the batch."""
    if lengths is None and x.shape[1] >= count:
        return None
    return segment_sizes(_known(x, lengths), count)[1] > 0


def segment_means(x: Tokens, lengths: Lengths | None, count: int) -> Float[Tensor, "B m H D"]:
    """Mean of each segment's tokens, zero for an empty one; in float32 at least. Each token is gathered about once."""
    tokens, wide = x.shape[1], torch.promote_types(x.dtype, torch.float32)
    if lengths is None and tokens % count == 0:
        return x.unflatten(1, (count, -1)).mean(2, dtype=wide)
    first, sizes = segment_sizes(_known(x, lengths), count)
    place = torch.arange(-(-tokens // count), device=x.device)
    inside = place < sizes[:, :, None]
    index = (first[:, :, None] + place).clamp(max=tokens - 1)
    rows = take_tokens(x, index.flatten(1)).unflatten(1, index.shape[1:])
    rows = rows.masked_fill(~inside[..., None, None], 0.0)
    return rows.sum(2, dtype=wide) / sizes.clamp(min=1)[:, :, None, None]


def _known(x: Tokens, lengths: Lengths | None) -> Lengths:
    """The lengths, written out where every token is real."""
    return torch.full(x.shape[:1], x.shape[1], device=x.device) if lengths is None else lengths


def over_norms(matrix: Float[Tensor, "B H m m"]) -> Float[Tensor, "B H m m"]:
    """Aᵀ / (‖A‖₁ ‖A‖∞), the norms of each example and head: where Newton's iterations towards A⁺ may start."""
    size = matrix.abs()
    norms = size.sum(2, keepdim=True).amax(3, keepdim=True) * size.sum(3, keepdim=True).amax(2, keepdim=True)
    return matrix.mT / torch.where(norms > 0, norms, 1.0)


def iterative_inverse(
    matrix: Float[Tensor, "B H m m"], start: Float[Tensor, "B H m m"], iterations: int
) -> Float[Tensor, "B H m m"]:
    """Z ← ¼ Z (13 I − A Z (15 I − A Z (7 I − A Z))), towards the (pseudo-)inverse: Razavi et al. 2014.

    Rows and columns that are zero in both stay so.
    """
    inverse, identity = start, torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
    for _ in range(iterations):
        product = matrix @ inverse
        inner = 15 * identity - product @ (7 * identity - product)
        inverse = 0.25 * inverse @ (13 * identity - product @ inner)
    return inverse
