"""Primal attention: two linear projections whose directions learn a singular value decomposition of the kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

SMALLEST_NORM = 1e-12
"""Queries and keys with a smaller norm are not normalised, as in PyTorch's normalize, which the authors use."""
PROJECTION_E, PROJECTION_R, LAMBDA = "projection.e", "projection.r", "lambda"
WEIGHT, BIAS = "combine.weight", "combine.bias"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of primal attention."""

    rank: Annotated[int, Interval(ge=1, le=1000)] = 30
    """Directions s on each side. The authors use 20 or 30, by task."""
    rank_multiple: Annotated[int, Interval(ge=1, le=100)] = 10
    """Number of tokens that make the directions, as a multiple of the rank."""
    eta: Annotated[float, Interval(ge=0, le=1000)] = 0.05
    """Weight of one layer's penalty. The authors use η = 0, 0.05 or 0.1 times the mean over two layers."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for a width that is not heads × head_dim."""
    if dims.width != dims.heads * dims.head_dim:
        raise ValueError(f"width is {dims.width}, expected heads × head_dim = {dims.heads * dims.head_dim}")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """W_e and W_r orthonormal with a head as one vector, Λ uniform, the output like PyTorch's linear layer."""
    bound = 1 / math.sqrt(2 * options.rank)
    return {
        PROJECTION_E: _orthonormal_heads(options, dims, rng),
        PROJECTION_R: _orthonormal_heads(options, dims, rng),
        LAMBDA: rng.uniform(0, 1, (dims.heads, options.rank)),
        WEIGHT: rng.uniform(-bound, bound, (2 * options.rank, dims.head_dim)),
        BIAS: rng.uniform(-bound, bound, dims.head_dim),
    }


def _orthonormal_heads(options: Options, dims: Dims, rng: np.random.Generator) -> np.ndarray:
    """(H, p, s), p tokens: what the authors' initialiser makes of three axes, of which it flattens the last two."""
    tokens = options.rank * options.rank_multiple
    shape = (tokens * options.rank, dims.heads)
    rotation, triangle = np.linalg.qr(rng.normal(size=(max(shape), min(shape))))
    rotation = rotation * np.sign(np.diagonal(triangle))
    heads = rotation.T if shape[0] >= shape[1] else rotation
    return heads.reshape(dims.heads, tokens, options.rank)


def operations(options: Options, dims: Dims, length: int) -> int:
    """Both directions from the sampled tokens; two scores of every token, and the output from them."""
    sampled = options.rank * options.rank_multiple
    return dims.heads * dims.head_dim * options.rank * (2 * sampled + 4 * length)


def memory(options: Options, dims: Dims, length: int) -> int:
    """Features and scores of every token."""
    return dims.heads * max(options.rank, dims.head_dim) * length


CARD = Attention(
    title="Primal",
    year=2023,
    paper=Citation(
        # The page of the proceedings has Johan Suykens.
        authors="Yingyi Chen, Qinghua Tao, Francesco Tonin, Johan A. K. Suykens",
        title="Primal-Attention: Self-attention through Asymmetric Kernel SVD in Primal Representation",
        venue="NeurIPS",
        year=2023,
        arxiv="2305.19798",
    ),
    equations=(
        Equation(
            "scores",
            (
                r"e_i = \varphi(q_i) \tilde{X}^\top W_e, \quad r_j = \varphi(k_j) \tilde{X}^\top W_r, \quad "
                r"\varphi(x) = \frac{x}{\lVert x \rVert}"
            ),
            (
                r"$\tilde{X}$ is the part of a head in $p = s \cdot$ rank_multiple tokens of $x$: token $\lfloor a (n "
                r"- 1) / (p - 1) \rfloor$ for $a = 0 \dots p - 1$, $n$ the example's length"
            ),
        ),
        Equation("output", "O = [e; r] W + b"),
        Equation(
            "penalty",
            (
                r"\eta J^2, \quad J = \operatorname{mean}_{\text{heads}}\left(\frac{1}{2} \operatorname{mean}_i "
                r"\lVert \Lambda e_i \rVert^2 + \frac{1}{2} \operatorname{mean}_j \lVert \Lambda r_j \rVert^2 - "
                r"\operatorname{tr}(W_e^\top W_r)\right)"
            ),
        ),
    ),
    cost="O(N·D·s)",
    operations=operations,
    memory=memory,
    options=Options,
    variants=(Options(rank=5, rank_multiple=3), Options(rank=3, rank_multiple=17, eta=0.5)),
    inputs=("x", "q", "k"),
    params=params,
    check=check,
    differs=(
        "Means and samples are over an example's real tokens. The authors sample the padded sequence and average "
        "over its padding. J² belongs to one example, and the batch takes the mean; the authors square the mean over "
        "the batch. On Retrieval the penalty is the mean of the two documents' J². The authors take the square of "
        "their mean J, with η = 0 in their runs. The penalties of the layers are added. The authors' code takes "
        "their mean, so its η = 0.1 with two layers is eta = 0.05 here. The trace is that of their runs "
        "(`trace_no_x`)."
    ),
    penalty=True,
)
