"""Skyformer: kernelized attention through a few of its points, by Nyström's method on queries and keys together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Dims, Iterations
from attention_impls.equation import Equation
from attention_impls.ops.gaussian import PAPER

POINTS = "points"
"""Where the sampled points lie: parts of an example's length, first those of queries, then those of keys."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Skyformer."""

    features: Annotated[int, Interval(ge=2, le=65_536)] = 128
    """Points sampled: half of them queries, half keys."""
    iterations: Iterations = 6
    """Steps of the iteration for the inverse."""
    regularizer: Annotated[float, Interval(ge=1e-6, le=1000)] = 0.1
    """γ, added to the diagonal of the matrix before it is inverted."""


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
    paper=PAPER,
    equations=(
        Equation("kernel", r"\kappa(x, y) = \exp\left(-\frac{\lVert x - y \rVert^2}{2 \sqrt{D}}\right)"),
        Equation(
            "output",
            r"O = \kappa(Q, X) \left(\kappa(X, X) + \gamma I\right)^{-1} \kappa(X, K) V",
            "$X$ are points sampled from $[Q; K]$",
        ),
        Equation(
            "inverse",
            r"\left(\kappa(X, X) + \gamma I\right)^{-1} = \Delta^{-1/2} Z \Delta^{-1/2}",
            r"$\Delta$ is the diagonal of the row sums",
        ),
        Equation(
            "iteration",
            (
                r"Z \leftarrow \frac{1}{4} Z \left(13 I - A Z \left(15 I - A Z \left(7 I - A Z\right)\right)\right), "
                r"\quad Z_0 = I"
            ),
            r"$A = \Delta^{-1/2} (\kappa(X, X) + \gamma I) \Delta^{-1/2}$",
        ),
    ),
    cost="O(N·s·D + s³)",
    operations=operations,
    options=Options,
    variants=(Options(features=16), Options(features=9, iterations=3, regularizer=0.5)),
    constants=constants,
    differs=(
        "The points are drawn once, as fractions of an example's true length with repetition, the same for every "
        "example and head. The authors draw them in each call, in evaluation too. A's eigenvalues lie in (0, 1], so "
        "Z starts at I. The authors' code starts at Aᵀ over a maximum of the batch. That couples examples, and six "
        "steps end far from the inverse. κ(X, X) is computed from differences, so rounding never makes it "
        "indefinite. The scale is D^(−1/4) for the layer's own D, in their code 32^(−1/4)."
    ),
)
