"""LSH attention in PyTorch. R rounds, M chunks of m tokens; s marks an axis of tokens sorted by bucket.

An example of eight tokens: reference.py.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.products_torch import row_products
from attention_impls.ops.softmax_torch import softmax_parts
from attention_impls.ops.torch_ops import Lengths, Tokens, real_tokens, swapped
from attention_impls.reformer import SMALLEST, Options
from attention_impls.reformer.buckets import by_length, columns


def attend(q: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    every = torch.full(q.shape[:1], tokens, device=q.device) if layer.lengths is None else layer.lengths
    q, v = (swapped(x) for x in (q, v))
    chunk = min(layer.options.chunk_size, tokens)
    order = _order(q.detach(), every, layer.constants, layer.options)
    place = torch.empty_like(order).scatter_(-1, order, torch.arange(tokens, device=q.device).expand_as(order))
    queries, values = (_cut(_moved(x[:, :, None], order, place), chunk) for x in (q, v))
    scores = _scores(queries, _with_previous(_unit(queries)))  # eq. (keys), (scores)
    more = _times_seen_elsewhere(order, (place // chunk).short(), chunk).to(scores.dtype)  # chunks are at most 2¹⁵
    hidden = ~_visible(every, scores.shape[-3], chunk, layer.options.allow_self)
    scores = scores - torch.where(hidden, torch.finfo(scores.dtype).max, more.log1p())
    weights, total, _ = softmax_parts(scores)
    out = weights.to(v.dtype) @ _with_previous(values)
    out, total = (_moved(x.flatten(3, 4), place, order) for x in (out, total))
    return swapped((total.softmax(2).to(v.dtype) * out).sum(2))  # eq. (output)


def _order(
    q: Float[Tensor, "B H N D"], lengths: Lengths, constants: dict[str, Tensor], options: Options
) -> Int[Tensor, "B H R N"]:
    """The tokens of each round sorted by bucket, those of a bucket by position, padding behind them all."""
    tokens = q.shape[2]
    wide = torch.promote_types(q.dtype, torch.float32)
    counts = torch.from_numpy(by_length(tokens, options.chunk_size)).to(q.device)[lengths]
    bucket = torch.zeros((), dtype=torch.int32, device=q.device)
    for i, width in enumerate(columns(tokens, options.chunk_size)):
        count = counts[:, i, None, None, None]
        rotated = q[:, :, None].to(wide) @ constants[f"rotations.{i}"][..., :width].transpose(0, 1).to(wide)
        half = count // 2
        rotated = rotated.masked_fill(torch.arange(width, device=q.device) >= half[..., None], 0)
        axis = rotated.abs().argmax(-1, keepdim=True)  # that of the largest of [x; −x]
        negative = rotated.gather(-1, axis)[..., 0] < 0
        bucket = bucket * count + axis[..., 0] + half * negative  # eq. (hash)
    bucket = bucket.where(real_tokens(lengths, tokens)[:, None, None], torch.iinfo(torch.int32).max)
    return bucket.sort(dim=-1, stable=True).indices


def _unit(x: Float[Tensor, "*shape D"]) -> Float[Tensor, "*shape D"]:
    """x/‖x‖, with a squared norm in float32 at least, whose gradient at zero is zero."""
    square = x.to(torch.promote_types(x.dtype, torch.float32)).square().sum(-1, keepdim=True)
    return (x * square.clamp(min=SMALLEST**2).rsqrt()).to(x.dtype)


def _moved(
    x: Shaped[Tensor, "B H #R n D"], to: Int[Tensor, "B H R N"], back: Int[Tensor, "B H R N"]
) -> Shaped[Tensor, "B H R N D"]:
    """Row to[r, i] of x at i. Row back[r, i] of the result is row i of x, so its gradient needs no sum over rows."""
    result: Tensor = _Moved.apply(x, to, back)
    return result


class _Moved(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, to: Tensor, back: Tensor) -> Tensor:
        ctx.save_for_backward(to, back)
        ctx.shape = x.shape
        return _rows(x, to)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        to, back = ctx.saved_tensors
        found = _moved(gradients[0], back, to).sum_to_size(*ctx.shape[:3], *back.shape[3:], ctx.shape[4])
        return F.pad(found, (0, 0, 0, ctx.shape[3] - back.shape[3])), None, None


def _rows(x: Shaped[Tensor, "B H #R n D"], index: Int[Tensor, "B H R N"]) -> Shaped[Tensor, "B H R N D"]:
    """index_select is much faster than gather, whose index has an entry for every number."""
    first = x.shape[3] * torch.arange(x.shape[:3].numel(), device=x.device).view(*x.shape[:3], 1)
    return x.flatten(0, 3).index_select(0, (first + index).flatten()).view(*index.shape, x.shape[-1])


def _cut(x: Shaped[Tensor, "B H R s D"], chunk: int) -> Shaped[Tensor, "B H R M m D"]:
    return F.pad(x, (0, 0, 0, -x.shape[3] % chunk)).unflatten(3, (-1, chunk))


def _with_previous(x: Shaped[Tensor, "B H R M m D"]) -> Shaped[Tensor, "B H R M m2 D"]:
    """Each chunk behind the one before it; before the first stands the last, which is hidden there."""
    return torch.cat([x.roll(1, 3), x], 4)


def _scores(q: Float[Tensor, "*B m D"], k: Float[Tensor, "*B m2 D"]) -> Float[Tensor, "*B m m2"]:
    return row_products(q, k).to(torch.promote_types(q.dtype, torch.float32))


def _visible(lengths: Lengths, chunks: int, chunk: int, allow_self: bool) -> Bool[Tensor, "B #H #R M m m2"]:
    """Which keys a query sees. Real tokens are sorted to the front, so their places alone say which are real."""
    within = torch.arange(chunk, device=lengths.device)
    key = torch.arange(chunks, device=lengths.device)[:, None] * chunk + torch.cat([within - chunk, within])
    real = (key >= 0) & (key < lengths[:, None, None])
    other = within[:, None] + chunk != torch.arange(2 * chunk, device=lengths.device)
    allowed = other | (lengths == 1)[:, None, None] | allow_self
    return (real[:, :, None] & allowed[:, None])[:, None, None]


def _times_seen_elsewhere(
    order: Int[Tensor, "B H R N"], chunks: Int[Tensor, "B H R N"], chunk: int
) -> Float[Tensor, "B H R M m m2"] | Float[Tensor, ""]:
    """In how many other rounds the query has the key in its own or the previous chunk."""
    count = torch.zeros((), device=order.device)
    for shift in range(1, order.shape[2]):
        query = _cut(chunks.roll(-shift, 2).gather(3, order)[..., None], chunk)
        count = count + ((query - _with_previous(query).mT) >> 1 == 0).float()  # 0 or 1 chunks back
    return count
