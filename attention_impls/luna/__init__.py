"""Luna: a short sequence, handed from layer to layer, packs the tokens, and the tokens attend to what it packed."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

START = "packed"
SCALE, SHIFT = "norm.scale", "norm.bias"
ASK, ASK_BIAS = "pack.weight", "pack.bias"
TELL, TELL_BIAS = "unpack.weight", "unpack.bias"

EPSILON = 1e-5
"""What the norm adds to a variance: PyTorch's default."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Luna."""

    packed: Count = 128
    """Rows l of the packed sequence."""


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """P₀ normal of variance 1/C; projections uniform with Xavier's variance halved, their biases zero; the norm's."""
    width, bound = dims.width, math.sqrt(1.5 / dims.width)
    return {
        START: rng.normal(0, 1 / math.sqrt(width), (options.packed, width)),
        SCALE: np.ones(width),
        SHIFT: np.zeros(width),
        ASK: rng.uniform(-bound, bound, (width, width)),
        ASK_BIAS: np.zeros(width),
        TELL: rng.uniform(-bound, bound, (width, width)),
        TELL_BIAS: np.zeros(width),
    }


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for heads that do not make the width, in which the packed sequence is."""
    if dims.heads * dims.head_dim != dims.width:
        raise ValueError(f"width is {dims.width}, expected heads × head_dim, which is {dims.heads * dims.head_dim}")


def operations(options: Options, dims: Dims, length: int) -> int:
    """Two attentions between l rows and N tokens, each of two products, and a projection of the rows for each."""
    return 4 * options.packed * length * dims.width + 2 * options.packed * dims.width**2


def memory(options: Options, dims: Dims, length: int) -> int:
    """Scores of the rows with each token, and a few numbers a token and feature."""
    return length * (2 * dims.heads * options.packed + 4 * dims.width)


CARD = Attention(
    title="Luna",
    year=2021,
    paper=Citation(
        authors="Xuezhe Ma, Xiang Kong, Sinong Wang, Chunting Zhou, Jonathan May, Hao Ma, Luke Zettlemoyer",
        title="Luna: Linear Unified Nested Attention",
        venue="NeurIPS",
        year=2021,
        arxiv="2106.01540",
    ),
    equations=(
        Equation("start", r"P = \sqrt{C} \, P_0", "in the first layer; in others what the layer below handed on"),
        Equation(
            "pack",
            r"P' = \operatorname{softmax}\left(\frac{(\operatorname{LN}(P) W_P + b_P) K^\top}{\sqrt{D}}\right) K",
            "over the real tokens; $K$ is the values too",
        ),
        Equation(
            "unpack",
            r"O = \operatorname{softmax}\left(\frac{Q U^\top}{\sqrt{D}}\right) U, \quad U = P' W_U + b_U",
            "over the rows of the packed sequence",
        ),
        Equation("carry", r"P \leftarrow P + P'"),
    ),
    cost="O(N·l·D)",
    operations=operations,
    memory=memory,
    options=Options,
    variants=(Options(packed=5), Options(packed=40)),
    inputs=("q", "k"),
    params=params,
    check=check,
    differs=(
        "Keys and values are one projection, the authors' default. Norms come before each attention, as in the "
        "encoder here; the authors' default puts them after it. There is no dropout within the softmaxes. The packed "
        "sequence has no positions. The encoder initialises its projections in its own way, not the authors'."
    ),
    carries=True,
    starts=(START,),
)
