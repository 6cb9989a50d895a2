"""Sparse Sinkhorn attention: blocks attend to themselves and to a block that a learned soft sorting brings to them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation

SORT = "sort.weight"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Sinkhorn attention."""

    block_size: Count = 50
    """Tokens of one block."""
    iterations: Annotated[int, Interval(ge=1, le=1000)] = 7
    """Number of times that the rows and then the columns of the sorting matrix are normalised."""
    temperature: Annotated[float, Interval(ge=0.001, le=1000)] = 0.75
    """Divides the sorting logits. A smaller temperature sorts harder."""


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The sorting network (H, D, blocks of max_length), uniform within ±1/√D as the encoder's layers.

    No bias: one number for each column is what normalising the columns takes out again.
    """
    bound, blocks = 1 / math.sqrt(dims.head_dim), -(-dims.max_length // options.block_size)
    return {SORT: rng.uniform(-bound, bound, (dims.heads, dims.head_dim, blocks))}


def operations(options: Options, dims: Dims, length: int) -> int:
    """Each block with twice its keys; the sorting matrix times keys and values; the sorting network."""
    size = min(options.block_size, length)
    blocks = -(-length // size)
    features = dims.heads * dims.head_dim
    return features * (4 * blocks * size**2 + 2 * blocks**2 * size + blocks**2)


CARD = Attention(
    title="Sinkhorn",
    year=2020,
    paper=Citation(
        authors="Yi Tay, Dara Bahri, Liu Yang, Donald Metzler, Da-Cheng Juan",
        title="Sparse Sinkhorn Attention",
        venue="ICML",
        year=2020,
        arxiv="2002.11296",
        pages="9438–9447",
    ),
    equations=(
        Equation("logits", r"R_i = \frac{1}{\tau} \sum_{t \in B_i} k_t W", "$B_i$ holds the tokens of block $i$"),
        Equation(
            "sort",
            r"P = \operatorname{Sinkhorn}(\exp R), \quad K' = P K, \quad V' = P V",
            "rows and columns normalised in turn; $K$ and $V$ as rows of blocks",
        ),
        Equation(
            "output",
            r"O_i = \operatorname{softmax}\left(\frac{Q_i [K_i; K'_i]^\top}{\sqrt{D}}\right) [V_i; V'_i]",
            "in block $i$",
        ),
    ),
    cost="O(N·b·D + N²·D/b): sorting is quadratic, with a factor of 1/b",
    operations=operations,
    options=Options,
    memory=lambda options, dims, length: (
        dims.heads * (2 * options.block_size * length + (length // options.block_size) ** 2)
    ),
    variants=(Options(block_size=20), Options(block_size=24, iterations=2, temperature=2.0)),
    measured=(Options(block_size=64), Options(block_size=128)),
    params=params,
    differs=(
        "There is no Gumbel noise: every mechanism here is deterministic. One softmax spans a block's own keys and "
        "the sorted ones. lucidrains' sinkhorn-transformer does this too, with this temperature and these "
        "iterations. LRA's code adds the results of two softmaxes, one over each. The sorting network is that of "
        "LRA's code, one linear layer on the sum of a block's keys, with three changes. Each head has its own. There "
        "is no bias, because normalising the columns removes it. It has an output for each block of the longest "
        "input, where LRA has 25. LRA's code normalises by one softmax and contracts the wrong axis, so that nothing "
        "is sorted. Its blocks hold every n-th token. An example with fewer blocks sorts those it has. Where its "
        "last block is incomplete, the missing tokens are zero vectors in the sum of sorted blocks."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(block_size=64),
            lengths=(1, 33, 64),
            tolerance=1e-12,
            why="one block that covers every token is its own sorted block: every key counts twice, to no effect",
        ),
    ),
)
