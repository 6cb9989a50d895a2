"""Reformer: queries that are also the keys, sorted by a locality-sensitive hash and attended to in chunks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Dims, Equality
from attention_impls.reformer.buckets import columns

SMALLEST = 1e-6
"""A shorter query is divided by this instead of its norm."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of LSH attention."""

    rounds: int = 2
    """Independent hashes, each with its own chunks; a token attends to the union of what they show it."""
    chunk_size: int = 64
    """Tokens of a chunk; there are about two buckets a chunk."""
    allow_self: bool = False
    """Let a token attend to itself although it is not alone; its own key is almost always the nearest."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for rounds or chunks that cannot be."""
    if options.rounds < 1:
        raise ValueError(f"rounds {options.rounds} given, at least 1 expected")
    if options.chunk_size < 2:
        raise ValueError(f"chunk_size {options.chunk_size} given, at least 2 expected: a token needs another to see")


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
    paper="Kitaev, Kaiser, Levskaya, Reformer: The Efficient Transformer, ICLR 2020, arXiv 2001.04451",
    equations=(
        "k_j = q_j/‖q_j‖; bucket = argmax[q R; −q R]; tokens sorted by bucket and cut into chunks; in each round i "
        "sees the tokens j ≠ i of its own and the previous chunk, with score q_i·k_j − log(number of rounds in which i "
        "sees j); O = Σ_rounds exp(z_round − z) O_round, z the logarithms of the sums of exponentials"
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
    check=check,
    differs=(
        "The paper's formulas, without causality: the first chunk sees itself alone, where the code joins it to the "
        "last one of another round; a token seen in several rounds counts once, where the code counts it each time. "
        "Rotations are drawn once, not at every step. The number of buckets is the greatest power of two up to "
        "2·⌊N/chunk⌋, N the true length; above 2·chunk several hashes share it, which the code does above 128. A "
        "token attends to itself only where it is the only one; the code subtracts 1e5 from that score, which huge "
        "queries outweigh. LRA's code has ten chunks at any length and lets padding be seen. It does not normalise "
        "keys, and it multiplies the scores by √D."
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
