"""Performer: softmax attention estimated with random positive features (FAVOR+)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from attention_impls.base import Arrays, Attention, Count, Dims, Equality

EPSILON = {"softmax": 1e-4, "relu": 1e-3}
"""Added to every feature, so that no query is without similarity to any key; the authors' values."""
PROJECTION = "projection.weight"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Performer."""

    features: Count = 256
    """Random features of a head, m: the error against softmax falls as 1/√m."""
    kind: Literal["softmax", "relu"] = "softmax"
    """Features exp(Wx − ‖x‖²/2), which estimate softmax; or ReLU(Wx), a kernel of its own."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError where there is no feature."""
    if options.features < 1:
        raise ValueError(f"features {options.features} given, at least 1 expected")


def constants(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """W (m, D): rows like N(0, I), orthogonal to one another within each block of D, shared by the heads."""
    blocks = -(-options.features // dims.head_dim)
    rotation, triangle = np.linalg.qr(rng.normal(size=(blocks, dims.head_dim, dims.head_dim)))
    # Without its signs LAPACK's rotation is not uniform, and the estimate would be biased.
    rotation *= np.sign(np.diagonal(triangle, axis1=1, axis2=2))[:, None, :]
    norms = np.linalg.norm(rng.normal(size=(options.features, dims.head_dim)), axis=1, keepdims=True)
    return {PROJECTION: rotation.mT.reshape(-1, dims.head_dim)[: options.features] * norms}


def operations(options: Options, dims: Dims, length: int) -> int:
    """W q and W k, φ(k)ᵀ v, φ(q) times it, and φ(q) times Σ φ(k)."""
    return dims.heads * length * options.features * (4 * dims.head_dim + 1)


def memory(options: Options, dims: Dims, length: int) -> int:
    """The features of every token."""
    return dims.heads * length * max(options.features, dims.head_dim)


CARD = Attention(
    title="Performer",
    year=2021,
    paper="Choromanski et al., Rethinking Attention with Performers, ICLR 2021, arXiv 2009.14794",
    equations=(
        "O_i = φ(q_i) Σ_j φ(k_j)ᵀ v_j / φ(q_i)·Σ_j φ(k_j), j over real tokens; with x = q / D^¼ or k / D^¼: "
        "φ(x) = exp(Wx − ‖x‖²/2 − s) + 1e-4, s the largest exponent of a query, of all keys of a head; "
        "or φ(x) = ReLU(Wx) + 1e-3; W (m, D) orthogonal in blocks of D rows with the norms of Gaussian ones"
    ),
    cost="O(N·m·D)",
    operations=operations,
    memory=memory,
    options=Options,
    variants=(Options(features=20), Options(features=16, kind="relu")),
    constants=constants,
    check=check,
    differs=(
        "W is drawn once for a seed and layer; the authors may redraw it while training. s is the maximum of the whole "
        "exponent, where the authors leave out −‖x‖²/2, so that their ε outweighs the features of a long vector; for "
        "keys it is taken over the real tokens of one example and head, not over the batch. Gradients flow through s, "
        "since with ε the output depends on it."
    ),
    equals_softmax_when=(
        Equality(options=Options(), lengths=(1,), tolerance=1e-12, why="a single token attends to itself"),
    ),
)
