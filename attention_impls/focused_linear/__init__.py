"""Focused linear attention (FLatten): a feature map that sharpens directions, and a convolution that restores rank."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

EPSILON = 1e-6
"""Added to the features and to the denominator, as in the authors' code."""
SCALE, POSITION = "focus.scale", "position.embedding"
WEIGHT, BIAS = "depthwise.weight", "depthwise.bias"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of focused linear attention."""

    focus: Annotated[int, Interval(ge=1, le=16)] = 3
    """The power p of the features. With a higher power they are closer to their largest axis."""
    kernel_size: Count = 5
    """Taps of the depthwise convolution of V over the sequence; an odd number."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for an even kernel size."""
    if options.kernel_size % 2 == 0:
        raise ValueError(f"kernel_size is {options.kernel_size}, expected an odd number such as 5")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Scale and positions of zero, as the authors start; the convolution like PyTorch's, one for all heads."""
    bound = 1 / math.sqrt(options.kernel_size)
    return {
        SCALE: np.zeros((dims.heads, dims.head_dim)),
        POSITION: np.zeros((dims.max_length, dims.heads, dims.head_dim)),
        WEIGHT: rng.uniform(-bound, bound, (dims.head_dim, options.kernel_size)),
        BIAS: rng.uniform(-bound, bound, dims.head_dim),
    }


def operations(options: Options, dims: Dims, length: int) -> int:
    """φ(k)ᵀ v, φ(q) times it, and φ(q) times the mean of φ(k)."""
    return dims.heads * length * dims.head_dim * (2 * dims.head_dim + 1)


CARD = Attention(
    title="Focused linear",
    year=2023,
    paper=Citation(
        authors="Dongchen Han, Xuran Pan, Yizeng Han, Shiji Song, Gao Huang",
        title="FLatten Transformer: Vision Transformer using Focused Linear Attention",
        venue="ICCV",
        year=2023,
        arxiv="2308.00442",
        pages="5961–5971",
    ),
    equations=(
        Equation(
            "features",
            (
                r"\varphi(x) = \frac{\lVert f \rVert}{\lVert f^p \rVert} f^p, \quad f = \frac{\operatorname{ReLU}(x) "
                r"+ \varepsilon}{\operatorname{softplus}(s)}"
            ),
            r"norms over all heads together; $p = 3$, $\varepsilon = 10^{-6}$, $s$ learned",
        ),
        Equation(
            "output",
            (
                r"O_i = \frac{\varphi(q_i) \operatorname{mean}_j\left(\varphi(k_j + P_j)^\top "
                r"v_j\right)}{\varphi(q_i) \cdot \operatorname{mean}_j \varphi(k_j + P_j) + \varepsilon} + "
                r"\operatorname{DWC}(V)_i"
            ),
            "$j$ over real tokens; positions $P_j$ learned; DWC is a depthwise convolution",
        ),
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(), Options(focus=4, kernel_size=3)),
    params=params,
    check=check,
    differs=(
        "The convolution has five taps along the sequence instead of 5×5 over an image. Features are divided by "
        "their largest before they are raised to a power. This changes no value and never overflows; the authors' "
        "code has no such division. Nothing is sub-sampled, and the positions have max_length rows."
    ),
)
