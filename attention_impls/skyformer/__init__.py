"""Skyformer: kernelized attention through a few of its points, by Nyström's method on queries and keys together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Dims

POINTS = "points"
"""Where the sampled points lie: parts of an example's length, first those of queries, then those of keys."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Skyformer."""

    features: int = 128
    """Points sampled: half of them queries, half keys."""
    iterations: int = 6
    """Steps of the iteration towards the inverse."""
    regularizer: float = 0.1
    """γ, added to the diagonal of the matrix to be inverted."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for samples, iterations or regularizers that cannot be."""
    if options.features < 2:
        raise ValueError(
            f"features {options.features} given, at least 2 expected, a query and a key: the paper has 128"
        )
    if options.iterations < 0:
        raise ValueError(f"iterations {options.iterations} given, at least 0 expected: the authors take 6")
    if options.regularizer <= 0:
        raise ValueError(f"regularizer {options.regularizer} given, a positive number expected: the authors take 0.1")


def constants(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Uniform numbers in [0, 1), one a sampled point."""
    return {POINTS: rng.uniform(size=options.features)}


def operations(options: Options, dims: Dims, length: int) -> int:
    """Two kernels of tokens with points, the products of both with values, one of points, four s³ an iteration."""
    s = options.features
    return dims.heads * (dims.head_dim * (4 * length * s + s**2) + 4 * options.iterations * s**3)


CARD = Attention(
    title="Skyformer",
    year=2021,
    paper="Chen et al., Skyformer: Remodel Self-Attention with Gaussian Kernel and Nyström Method, NeurIPS 2021, "
    "arXiv 2111.00035",
    equations=(
        "O = κ(Q, X) (κ(X, X) + γ I)⁻¹ κ(X, K) V, κ the Gaussian kernel of kernelized attention, X points sampled from "
        "[Q; K]; the inverse is D^(−½) Z D^(−½), D the row sums, Z ← ¼ Z (13 I − A Z (15 I − A Z (7 I − A Z))), "
        "Z₀ = I, A = D^(−½) (κ(X, X) + γ I) D^(−½)"
    ),
    cost="O(N·s·D + s³)",
    operations=operations,
    options=Options,
    variants=(Options(features=16), Options(features=9, iterations=3, regularizer=0.5)),
    constants=constants,
    check=check,
    differs=(
        "The points are drawn once, as parts of an example's true length with repetition, the same for every example "
        "and head; the authors draw anew in each call, in evaluation too. A's eigenvalues lie in (0, 1], so Z starts "
        "at I; the authors' code starts at Aᵀ over a maximum of the batch, which couples examples and leaves six "
        "steps far from the inverse. κ(X, X) is computed from differences, so that rounding never makes it "
        "indefinite. The scale is D^(−1/4) for the layer's own D, in their code 32^(−1/4)."
    ),
)
