"""Performer: softmax attention estimated with random positive features (FAVOR+)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation

RELU_EPSILON = 1e-3
"""Added to every feature of the ReLU kind: the default of the authors' code and of performer-pytorch."""
PROJECTION = "projection.weight"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Performer."""

    features: Count = 256
    """Random features of a head, m: the error against softmax falls as 1/√m."""
    kind: Literal["softmax", "relu"] = "softmax"
    """softmax: features exp(Wx − ‖x‖²/2), which estimate softmax; relu: features ReLU(Wx), another kernel."""
    # The neutral value is the constant from before this option, so a run at 1e-4 still has the same numbers.
    epsilon: Annotated[float, Interval(ge=1e-30, le=1)] = field(default=1e-6, metadata={"neutral": 1e-4})
    """A constant that is added to every softmax feature, so that each query is similar to some key. The authors' code
    and LRA use 1e-6; performer-pytorch, and suites that use it, use 1e-4. ReLU features always add 1e-3."""


def added(options: Options) -> float:
    """The constant that is added to every feature of the chosen kind."""
    return options.epsilon if options.kind == "softmax" else RELU_EPSILON


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
    paper=Citation(
        # As in the paper; OpenReview has middle names of four.
        authors=(
            "Krzysztof Choromanski, Valerii Likhosherstov, David Dohan, Xingyou Song, Andreea Gane, Tamas Sarlos, "
            "Peter Hawkins, Jared Davis, Afroz Mohiuddin, Lukasz Kaiser, David Belanger, Lucy Colwell, Adrian "
            "Weller"
        ),
        title="Rethinking Attention with Performers",
        venue="ICLR",
        year=2021,
        arxiv="2009.14794",
    ),
    equations=(
        Equation(
            "softmax-features",
            r"\varphi(x) = \exp\left(W x - \frac{\lVert x \rVert^2}{2} - s\right) + \varepsilon",
            (
                r"$x$ is $q / D^{1/4}$ or $k / D^{1/4}$; $\varepsilon = 10^{-6}$; $s$ is the largest exponent of a "
                r"query, of all keys of a head; $W$ ($m$, $D$) is orthogonal in blocks of $D$ rows with the norms of "
                r"Gaussian ones"
            ),
        ),
        Equation("relu-features", r"\varphi(x) = \operatorname{ReLU}(W x) + 10^{-3}", "the other kind"),
        Equation(
            "output",
            r"O_i = \frac{\varphi(q_i) \sum_j \varphi(k_j)^\top v_j}{\varphi(q_i) \cdot \sum_j \varphi(k_j)}",
            "$j$ over real tokens",
        ),
    ),
    cost="O(N·m·D)",
    operations=operations,
    memory=memory,
    options=Options,
    revision=2,  # 1 added 1e-4
    variants=(Options(features=20), Options(features=16, kind="relu")),
    constants=constants,
    differs=(
        "W is drawn once for a seed and layer; the authors' code draws it in every call by default. W's rotations "
        "are uniform here; their code keeps the signs of its QR decomposition. s is the maximum of the whole "
        "exponent. The authors leave −‖x‖²/2 out of s, so that their ε outweighs the features of a long vector. They "
        "add 2e-6 to a denominator of at most 1e-6. Here nothing is added, because the denominator is at least ε "
        "times the number of keys. Gradients flow through s, as in their code; performer-pytorch stops them. The "
        "ReLU kind is that of performer-pytorch, which divides x by D^¼. The authors' code does not divide, and has "
        "W only on request. LRA's runs take ReLU(x) + 1e-3 without W. On ListOps they take the softmax kind with m = "
        "2."
    ),
    equals_softmax_when=(
        Equality(options=Options(), lengths=(1,), tolerance=1e-12, why="a single token attends to itself"),
    ),
)
