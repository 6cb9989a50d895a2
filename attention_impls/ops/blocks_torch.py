"""Blocks of consecutive tokens, in PyTorch: cut, gathered, attended to. Axis letters: attention_impls/base.py.

n is the number of blocks, b the tokens of one. A block begins at a multiple of b. Padding tokens and the cells beyond
the last token are treated alike. They are not real, and their values are zeros wherever a sum could include them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from attention_impls.ops.torch_ops import Real


def to_blocks(x: Shaped[Tensor, "B N *rest"], size: int) -> Shaped[Tensor, "B n b *rest"]:
    """Blocks of `size` tokens, zeros behind the last token; a view where `size` divides N."""
    missing = -x.shape[1] % size
    if missing:
        x = F.pad(x, (0, 0) * (x.ndim - 2) + (0, missing))
    return x.unflatten(1, (-1, size))


def from_blocks(x: Shaped[Tensor, "B n b *rest"], tokens: int) -> Shaped[Tensor, "B N *rest"]:
    """The inverse of `to_blocks`: the first `tokens` tokens."""
    return x.flatten(1, 2)[:, :tokens]


def real_blocks(real: Real | None, tokens: int, size: int, device: torch.device) -> Bool[Tensor, "_ n b"]:
    """The real tokens, in blocks; of one example for all where every token is real."""
    every = torch.ones(1, tokens, dtype=torch.bool, device=device)
    return to_blocks(every if real is None else real, size)


def neighbours(x: Shaped[Tensor, "B n b *rest"]) -> Shaped[Tensor, "B n 3*b *rest"]:
    """Every block between the one before and the one after it, zeros (False) beyond the ends."""
    padded = F.pad(x, (0, 0) * (x.ndim - 2) + (1, 1))
    return torch.cat([padded[:, :-2], padded[:, 1:-1], padded[:, 2:]], 2)


def window(real: Bool[Tensor, "B n b"]) -> Bool[Tensor, "B n b 3*b"]:
    """Which of its `neighbours` a token sees through a window that reaches b tokens to each side."""
    size = real.shape[2]
    here, there = torch.arange(size, device=real.device), torch.arange(-size, 2 * size, device=real.device)
    return neighbours(real)[:, :, None] & ((here[:, None] - there).abs() <= size)


def take_blocks(x: Shaped[Tensor, "B n b *rest"], index: Int[Tensor, "_ m k"]) -> Shaped[Tensor, "B m kb *rest"]:
    """Blocks of each example by number, k of them side by side; one row of numbers may serve every example."""
    batch, count = x.shape[:2]
    flat = index + count * torch.arange(batch, device=x.device)[:, None, None]
    return x.flatten(0, 1).index_select(0, flat.flatten()).unflatten(0, flat.shape).flatten(2, 3)


def block_attention(
    q: Float[Tensor, "B n i H D"],
    k: Float[Tensor, "B n j H D"],
    v: Float[Tensor, "B n j H D"],
    visible: Bool[Tensor, "#B n #i j"] | None,
) -> Float[Tensor, "B n i H D"]:
    """softmax(q kᵀ / √D) v in every block, by the framework's fused kernel.

    A row that sees no key sees them all, since a fused softmax over nothing would be NaN: the caller drops it.
    """
    lead = q.shape[:2]
    mask = None
    if visible is not None:
        visible = visible | ~visible.any(-1, keepdim=True)
        mask = visible.expand(lead[0], -1, -1, -1).flatten(0, 1)[:, None]
    q, k, v = (x.flatten(0, 1).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).unflatten(0, lead)
