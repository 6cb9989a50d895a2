"""Local attention: softmax inside blocks that do not overlap, the simplest sparse pattern."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Count, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of local attention."""

    block_size: Count = 50
    """Tokens of one block. LRA used 50 for text and 64 for images."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """q kᵀ and its product with v in every block, the last one filled up."""
    block = min(options.block_size, length)
    return 2 * dims.heads * dims.head_dim * -(-length // block) * block**2


CARD = Attention(
    title="Local",
    year=2020,
    paper=Citation(
        authors=(
            "Yi Tay, Mostafa Dehghani, Samira Abnar, Yikang Shen, Dara Bahri, Philip Pham, Jinfeng Rao, Liu Yang, "
            "Sebastian Ruder, Donald Metzler"
        ),
        title="Long Range Arena: A Benchmark for Efficient Transformers",
        venue="ICLR",
        year=2021,
        arxiv="2011.04006",
    ),
    equations=(
        Equation(
            "block",
            r"O = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V",
            "in each block of $b$ consecutive tokens; the blocked baseline of appendix B",
        ),
    ),
    cost="O(N·b·D)",
    operations=operations,
    options=Options,
    variants=(Options(block_size=16), Options(block_size=5)),
    differs=(
        "A block is what the paper describes: it begins at a multiple of b, and only its real tokens are seen. LRA's "
        "code reshapes tokens so that a block holds every n-th token of the sequence. It adds a block of padding "
        "where the length is a multiple of b, and it attends to padding."
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
