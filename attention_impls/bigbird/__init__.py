"""BigBird: blocks that see their neighbours, the first and the last block, and a few random ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Count, CountOrNone, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation

TABLE = "random_blocks"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of BigBird attention."""

    block_size: Count = 64
    """Tokens of one block."""
    random_blocks: CountOrNone = 3
    """Blocks that each block sees besides its neighbours, the first and the last."""


def constants(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Uniform numbers (H, blocks of max_length, r), from which each length derives its own choices."""
    if options.random_blocks == 0:
        return {}
    return {TABLE: rng.random((dims.heads, -(-dims.max_length // options.block_size), options.random_blocks))}


def operations(options: Options, dims: Dims, length: int) -> int:
    """Every block with 5 + r blocks of keys, and the first and the last block with all keys."""
    block = min(options.block_size, length)
    blocks = -(-length // block)
    return 2 * dims.heads * dims.head_dim * blocks * block**2 * (5 + options.random_blocks + 2)


CARD = Attention(
    title="BigBird",
    year=2020,
    paper=Citation(
        # arXiv has Avinava Dubey.
        authors=(
            "Manzil Zaheer, Guru Guruganesh, Kumar Avinava Dubey, Joshua Ainslie, Chris Alberti, Santiago "
            "Ontanon, Philip Pham, Anirudh Ravula, Qifan Wang, Li Yang, Amr Ahmed"
        ),
        title="Big Bird: Transformers for Longer Sequences",
        venue="NeurIPS",
        year=2020,
        arxiv="2007.14062",
    ),
    equations=(
        Equation(
            "seen",
            r"S_i = \{1, i - 1, i, i + 1, n_b\} \cup R_i",
            "the blocks that block $i$ sees; $n_b$ is the last one, $R_i$ holds $r$ random ones",
        ),
        Equation(
            "ordinary",
            r"O_i = \operatorname{softmax}\left(\frac{Q_i K_{S_i}^\top}{\sqrt{D}}\right) V_{S_i}",
            "$1 < i < n_b$",
        ),
        Equation(
            "global",
            r"O_i = \operatorname{softmax}\left(\frac{Q_i K^\top}{\sqrt{D}}\right) V",
            r"$i \in \{1, n_b\}$, over all tokens",
        ),
    ),
    cost="O(N·b·(7 + r)·D)",
    operations=operations,
    options=Options,
    variants=(
        Options(block_size=8),
        Options(block_size=4, random_blocks=2),
        Options(block_size=8, random_blocks=0),
    ),
    constants=constants,
    differs=(
        "n_b counts the blocks that hold real tokens of the example, so the last block is the last real one. The "
        "random blocks are drawn once for every layer and head, without repetition. They come from the blocks that "
        "are not seen otherwise; LRA's code draws from the first 1024 tokens only. A key in several sets counts "
        "once."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(block_size=16),
            lengths=(1, 16, 33, 80, 112),
            tolerance=1e-12,
            why="with at most r + 4 blocks every block sees every other",
        ),
    ),
)
