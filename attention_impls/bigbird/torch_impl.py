"""BigBird attention in PyTorch. Heads are folded into the batch, since each has random blocks of its own."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.bigbird import TABLE, Options
from attention_impls.ops.blocks_torch import block_attention, from_blocks, real_blocks, take_blocks, to_blocks


def attend(
    q: Float[Tensor, "B N H D"], k: Float[Tensor, "B N H D"], v: Float[Tensor, "B N H D"], layer: Layer[Options]
) -> Float[Tensor, "B N H D"]:
    batch, tokens, heads = q.shape[:3]
    size = min(layer.options.block_size, tokens)
    q, k, v = (to_blocks(x.transpose(1, 2).flatten(0, 1)[:, :, None], size) for x in (q, k, v))
    exists = real_blocks(layer.real, tokens, size, q.device).expand(batch, -1, -1).repeat_interleave(heads, 0)
    counts = exists.any(2).sum(1).clamp(min=1)
    table = layer.constants[TABLE][:, : q.shape[1]].repeat(batch, 1, 1) if TABLE in layer.constants else None
    out = _with_global_rows(_ordinary(q, k, v, exists, counts, table), q, k, v, exists, counts)
    out = from_blocks(out, tokens).unflatten(0, (batch, heads)).squeeze(3).transpose(1, 2)
    return out


def _ordinary(
    q: Float[Tensor, "B n b 1 D"],
    k: Float[Tensor, "B n b 1 D"],
    v: Float[Tensor, "B n b 1 D"],
    exists: Bool[Tensor, "B n b"],
    counts: Int[Tensor, " B"],
    table: Float[Tensor, "B n r"] | None,
) -> Float[Tensor, "B n b 1 D"]:
    """Each block with the blocks that it sees; the rows of the first and the last block mean nothing."""
    count, size = q.shape[1:3]
    here, last = torch.arange(count, device=q.device), counts[:, None] - 1
    seen = [(0 * here, True), (last, True), (here - 1, here > 1), (here, True), (here + 1, here + 1 < last)]
    if table is not None:
        seen += [(block, block > 0) for block in random_blocks(table, here, last)]
    index, allowed = (
        torch.stack([torch.as_tensor(part[side], device=q.device).expand(len(q), count) for part in seen], 2)
        for side in (0, 1)
    )
    index = index.clamp(0, count - 1)
    visible = take_blocks(exists, index) & allowed.repeat_interleave(size, 2)
    return block_attention(q, take_blocks(k, index), take_blocks(v, index), visible[:, :, None])


def random_blocks(
    table: Float[Tensor, "B n r"], here: Int[Tensor, " n"], last: Int[Tensor, "B 1"]
) -> list[Int[Tensor, "B n"]]:
    """r different blocks for each, or as many as there are that it does not see anyway; 0 in place of the others.

    Floyd's sampling: step t draws one of the first free − r + t + 1 free blocks, and takes the last of these instead
    where the drawn one was taken before.
    """
    low, high = (here - 1).clamp(min=1), torch.minimum(here + 1, last - 1)
    taken = high - low + 1
    free, chosen = last - 1 - taken, []
    uniform = table.to(torch.promote_types(table.dtype, torch.float32))
    for t in range(table.shape[2]):
        top = free - table.shape[2] + t
        drawn = torch.minimum((uniform[:, :, t] * (top + 1)).floor().long(), top)
        for before in chosen:
            drawn = torch.where(drawn == before, top, drawn)
        chosen.append(drawn)
    return [torch.where(drawn < 0, 0, 1 + drawn + taken * (1 + drawn >= low)) for drawn in chosen]


def _with_global_rows(
    out: Float[Tensor, "B n b 1 D"],
    q: Float[Tensor, "B n b 1 D"],
    k: Float[Tensor, "B n b 1 D"],
    v: Float[Tensor, "B n b 1 D"],
    exists: Bool[Tensor, "B n b"],
    counts: Int[Tensor, " B"],
) -> Float[Tensor, "B n b 1 D"]:
    """The rows of the first and the last block replaced by softmax attention over all tokens."""
    here, last = torch.arange(q.shape[1], device=q.device), counts[:, None] - 1
    rows = take_blocks(q, torch.stack([0 * last, last], 2))
    keys, values, visible = (x.flatten(1, 2)[:, None] for x in (k, v, exists))
    first, final = block_attention(rows, keys, values, visible[:, :, None]).split(q.shape[2], 2)
    at_first, at_last = ((here == at)[:, :, None, None, None] for at in (0 * last, last))
    return torch.where(at_first, first, torch.where(at_last, final, out))
