"""Local attention: softmax inside blocks that do not overlap, the simplest sparse pattern."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Count, Dims, Equality


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of local attention."""

    block_size: Count = 50
    """Tokens of one block; 50 is what LRA took for text, 64 for images."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """q kᵀ and its product with v in every block, the last one filled up."""
    block = min(options.block_size, length)
    return 2 * dims.heads * dims.head_dim * -(-length // block) * block**2


CARD = Attention(
    title="Local",
    year=2020,
    paper="Tay et al., Long Range Arena, ICLR 2021, arXiv 2011.04006, appendix B (the blocked baseline)",
    equations="in each block of b consecutive tokens: O = softmax(Q Kᵀ / √D) V",
    cost="O(N·b·D)",
    operations=operations,
    options=Options,
    variants=(Options(block_size=16), Options(block_size=5)),
    differs=(
        "LRA's code reshapes tokens so that a block holds every n-th token of the sequence, adds a block of padding "
        "where the length is a multiple of b, and lets padding be seen. Here a block is what the paper says it is, "
        "begins at a multiple of b, and only its real tokens are seen."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(block_size=64),
            lengths=(1, 33, 64),
            tolerance=1e-12,
            why="one block that covers every token is softmax attention",
        ),
    ),
)
