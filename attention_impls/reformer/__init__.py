"""Reformer: queries that are also the keys, sorted by a locality-sensitive hash and attended to in chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.reformer.buckets import columns

SMALLEST = 1e-6
"""A shorter query is divided by this instead of its norm."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of LSH attention."""

    rounds: Annotated[int, Interval(ge=1, le=1000)] = 2
    """Number of independent hashes, each with its own chunks. A token attends to the union of its chunks."""
    chunk_size: Annotated[int, Interval(ge=2, le=65_536)] = 64
    """Tokens of a chunk. A chunk has about two buckets."""
    allow_self: bool = False
    """Let a token always attend to itself. Its own key is almost always the nearest."""


def constants(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Normal rotations of each round and head, for the numbers of buckets that max_length needs."""
    widths = columns(dims.max_length, options.chunk_size)
    shape = (options.rounds, dims.heads, dims.head_dim)
    return {f"rotations.{i}": rng.normal(size=(*shape, width)) for i, width in enumerate(widths)}


def operations(options: Options, dims: Dims, length: int) -> int:
    """The rotations; and of every chunk the scores with its own and the previous one, and their product with v."""
    chunk = min(options.chunk_size, length)
    padded = -(-length // chunk) * chunk
    hashing = length * sum(columns(length, options.chunk_size))
    return options.rounds * dims.heads * dims.head_dim * (hashing + 2 * padded * 2 * chunk)


def _shared(arrays: Arrays) -> Arrays:
    """The q, k and v of the softmax attention that one chunk is; softmax attention divides q by √D again."""
    q, v = arrays["q"], arrays["v"]
    return {"q": q * math.sqrt(q.shape[-1]), "k": q / np.linalg.norm(q, axis=-1, keepdims=True), "v": v}


CARD = Attention(
    title="Reformer",
    year=2020,
    paper=Citation(
        authors="Nikita Kitaev, Łukasz Kaiser, Anselm Levskaya",
        title="Reformer: The Efficient Transformer",
        venue="ICLR",
        year=2020,
        arxiv="2001.04451",
    ),
    equations=(
        Equation("keys", r"k_j = \frac{q_j}{\lVert q_j \rVert}"),
        Equation(
            "hash",
            r"h(q) = \operatorname{argmax} [q R; -q R]",
            "the bucket of a token; tokens are sorted by bucket and cut into chunks",
        ),
        Equation(
            "scores",
            r"s_{ij} = q_i \cdot k_j - \log c_{ij}",
            (
                r"in each round for the tokens $j \neq i$ in the own and the previous chunk of $i$; $c_{ij}$ is the "
                r"number of rounds in which $i$ sees $j$"
            ),
        ),
        Equation(
            "output",
            r"O_i = \sum_r e^{z_{ir} - z_i} O_{ir}",
            "over rounds $r$; $z$ are the logarithms of the sums of exponentials, of a round and of all",
        ),
    ),
    cost="O(rounds·N·chunk·D)",
    operations=operations,
    options=Options,
    variants=(
        Options(chunk_size=8),
        Options(chunk_size=8, rounds=1),
        Options(chunk_size=6, rounds=3, allow_self=True),
    ),
    inputs=("q", "v"),
    constants=constants,
    differs=(
        "The paper's formulas without causality. The first chunk sees itself alone, where the code joins it to the "
        "last chunk of another round. A token seen in several rounds counts once, where the code counts it each "
        "time. Rotations are drawn once, not at every step. The number of buckets is the greatest power of two up to "
        "2·⌊N/chunk⌋, with N the true length. Above 2·chunk, several hashes share it; the code does this above 128. "
        "A token attends to itself only where no other token is seen. The code subtracts 1e5 from that score, which "
        "huge queries outweigh. LRA's code has ten chunks at any length and attends to padding. It does not "
        "normalise keys, and it multiplies the scores by √D."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(chunk_size=64, allow_self=True),
            lengths=(1, 33, 64),
            tolerance=1e-12,
            why="one chunk that covers every token is softmax attention with k = q/‖q‖ and no division by √D",
            inputs=_shared,
        ),
    ),
)
