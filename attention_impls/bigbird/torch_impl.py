"""BigBird attention in PyTorch. Heads are folded into the batch, since each has random blocks of its own."""

from __future__ import annotations

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.bigbird import TABLE, Options
from attention_impls.ops.blocks_torch import block_attention, from_blocks, real_blocks, take_blocks, to_blocks
from attention_impls.ops.torch_ops import Tokens

Blocks = Float[Tensor, "B n b 1 D"]
Numbers = Int[Tensor, "B n"]
Last = Int[Tensor, "B 1"]


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    batch, tokens, heads = q.shape[:3]
    size = min(layer.options.block_size, tokens)
    q, k, v = (to_blocks(rearrange(x, "B N H D -> (B H) N 1 D"), size) for x in (q, k, v))
    exists = real_blocks(layer.real, tokens, size, q.device).expand(batch, -1, -1)
    exists = repeat(exists, "B n b -> (B H) n b", H=heads)
    last = exists.any(2).sum(1, keepdim=True).clamp(min=1) - 1
    random = []
    if TABLE in layer.constants:
        table = repeat(layer.constants[TABLE][:, : q.shape[1]], "H n r -> (B H) n r", B=batch)
        random = random_blocks(table, torch.arange(q.shape[1], device=q.device), last)
    out = _ordinary(q, k, v, exists, last, random)
    out = _with_global_rows(out, q, k, v, exists, last)
    return rearrange(from_blocks(out, tokens), "(B H) N 1 D -> B N H D", H=heads)


def _ordinary(
    q: Blocks, k: Blocks, v: Blocks, exists: Bool[Tensor, "B n b"], last: Last, random: list[Numbers]
) -> Blocks:
    """Each block with the blocks that it sees; the rows of the first and the last block mean nothing."""
    count, size = q.shape[1:3]
    here = torch.arange(count, device=q.device)
    first, left, right, always = 0 * here, here - 1, here + 1, here >= 0
    index = _side_by_side(first, last, left, here, right, *random).clamp(0, count - 1)  # eq. (seen)
    # A neighbour that is also the first or the last block counts once; 0 stands for no random block.
    new = _side_by_side(always, always, left > 0, always, right < last, *(block > 0 for block in random))
    visible = take_blocks(exists, index) & repeat(new, "B n k -> B n (k b)", b=size)
    return block_attention(q, take_blocks(k, index), take_blocks(v, index), visible[:, :, None])  # eq. (ordinary)


def _side_by_side(*numbers: Tensor) -> Tensor:
    """(B, n, k) from k arrays that are (B, n), or the same for every example or every block."""
    return torch.stack(torch.broadcast_tensors(*numbers), 2)


def random_blocks(table: Float[Tensor, "B n r"], here: Int[Tensor, " n"], last: Last) -> list[Numbers]:
    """r different blocks for each block, of those that it does not see anyway. If there are fewer, 0 replaces the rest.

    Floyd's sampling: step t draws one of the first `free − r + t + 1` free blocks. If that one was drawn before, it
    takes the last of these instead.
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
    out: Blocks, q: Blocks, k: Blocks, v: Blocks, exists: Bool[Tensor, "B n b"], last: Last
) -> Blocks:
    """The rows of the first and the last block replaced by softmax attention over all tokens."""
    rows = take_blocks(q, _side_by_side(0 * last, last))
    keys, values = (rearrange(x, "B n b H D -> B 1 (n b) H D") for x in (k, v))
    both = block_attention(rows, keys, values, rearrange(exists, "B n b -> B 1 1 (n b)"))  # eq. (global)
    first, final = both.split(q.shape[2], 2)
    here = torch.arange(q.shape[1], device=q.device)
    at_first, at_last = ((here == at)[:, :, None, None, None] for at in (0 * last, last))
    return torch.where(at_first, first, torch.where(at_last, final, out))
