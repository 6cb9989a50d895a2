"""LSH attention in PyTorch. R rounds, M chunks of m tokens; s marks an axis of tokens sorted by bucket.

An example of eight tokens: reference.py.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.torch_ops import Lengths, Tokens, real_tokens
from attention_impls.reformer import SMALLEST, Options
from attention_impls.reformer.buckets import by_length, columns


def attend(q: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    tokens = q.shape[1]
    every = torch.full(q.shape[:1], tokens, device=q.device) if layer.lengths is None else layer.lengths
    q, v = (x.transpose(1, 2) for x in (q, v))
    chunk = min(layer.options.chunk_size, tokens)
    order = _order(q.detach(), every, layer.constants, layer.options)
    place = order.argsort(-1)
    queries, values = _cut(_sort(q, order), chunk), _cut(_sort(v, order), chunk)
    scores = _scores(queries, _with_previous(_unit(queries)))  # eq. (keys), (scores)
    if layer.options.rounds > 1:
        scores = scores - _times_seen(order, place, chunk).to(scores.dtype).log()
    hidden = ~_visible(every, scores.shape[-3], chunk, layer.options.allow_self)
    scores = scores.masked_fill(hidden, torch.finfo(scores.dtype).min)
    total = scores.logsumexp(-1, keepdim=True)
    out = (scores - total).exp().to(v.dtype) @ _with_previous(values)
    share = _unsort(total, place).softmax(2).to(v.dtype)
    return (share * _unsort(out, place)).sum(2).transpose(1, 2)  # eq. (output)


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


def _sort(x: Shaped[Tensor, "B H N D"], order: Int[Tensor, "B H R N"]) -> Shaped[Tensor, "B H R s D"]:
    rounds = order.shape[2]
    index = order[..., None].expand(*order.shape, x.shape[-1])
    return x[:, :, None].expand(-1, -1, rounds, -1, -1).gather(3, index)


def _unsort(x: Float[Tensor, "B H R M m D"], place: Int[Tensor, "B H R N"]) -> Float[Tensor, "B H R N D"]:
    return x.flatten(3, 4).gather(3, place[..., None].expand(*place.shape, x.shape[-1]))


def _cut(x: Shaped[Tensor, "B H R s D"], chunk: int) -> Shaped[Tensor, "B H R M m D"]:
    return F.pad(x, (0, 0, 0, -x.shape[3] % chunk)).unflatten(3, (-1, chunk))


def _with_previous(x: Shaped[Tensor, "B H R M m D"]) -> Shaped[Tensor, "B H R M m2 D"]:
    """Each chunk behind the one before it; nothing real is before the first."""
    return torch.cat([F.pad(x, (0, 0, 0, 0, 1, 0))[:, :, :, :-1], x], 4)


def _scores(q: Float[Tensor, "*B m D"], k: Float[Tensor, "*B m2 D"]) -> Float[Tensor, "*B m m2"]:
    return (q @ k.mT).to(torch.promote_types(q.dtype, torch.float32))


def _visible(lengths: Lengths, chunks: int, chunk: int, allow_self: bool) -> Bool[Tensor, "B #H #R M m m2"]:
    """Which keys a query sees. Real tokens are sorted to the front, so their places alone say which are real."""
    within = torch.arange(chunk, device=lengths.device)
    key = torch.arange(chunks, device=lengths.device)[:, None] * chunk + torch.cat([within - chunk, within])
    real = (key >= 0) & (key < lengths[:, None, None])
    other = within[:, None] + chunk != torch.arange(2 * chunk, device=lengths.device)
    allowed = other | (lengths == 1)[:, None, None] | allow_self
    return (real[:, :, None] & allowed[:, None])[:, None, None]


def _times_seen(
    order: Int[Tensor, "B H R N"], place: Int[Tensor, "B H R N"], chunk: int
) -> Int[Tensor, "B H R M m m2"]:
    """In how many rounds the query has the key in its own or the previous chunk, this one included."""
    count = torch.ones((), dtype=torch.int32, device=order.device)
    for shift in range(1, order.shape[2]):
        elsewhere = (place // chunk).roll(-shift, 2).gather(3, order)[..., None]
        query = _cut(elsewhere, chunk)
        back = query - _with_previous(query).mT
        count = count + ((back == 0) | (back == 1))
    return count
