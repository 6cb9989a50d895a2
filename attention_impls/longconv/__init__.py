"""Long convolution: every channel has a free kernel as long as the sequence, kept sparse by a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Dims, Once
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.fourier import ROUNDING, conv_transforms, kernel_transforms
from attention_impls.ops.gated import DIFFERS, OUTPUT, SKIP, gated_operations, gated_params

KERNEL = "kernel"
RANDOM_STD, DECAYING_STD = 0.002, 0.02


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the long convolution."""

    init: Literal["random", "double_exp"] = "random"
    """Initial kernels: small noise, or larger noise that decays with the lag, faster in later channels."""
    threshold: Annotated[float, Interval(ge=0, le=10)] = 0.001
    """The threshold of taps, λ in the paper: it is subtracted from the size of each tap, down to zero."""
    glu: bool = True
    """Mix the channels by a gated linear unit after the convolution."""


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Kernels (2, C, max_length) of later and of earlier tokens, D normal."""
    noise = rng.normal(size=(2, dims.width, dims.max_length))
    if options.init == "random":
        kernel = RANDOM_STD * noise
    else:
        rates = (dims.width / 2) ** (np.arange(dims.width) / dims.width)
        kernel = DECAYING_STD * noise * np.exp(-rates[:, None] * np.arange(dims.max_length) / dims.max_length)
    return {KERNEL: kernel, SKIP: rng.normal(size=dims.width)} | gated_params(options, dims, rng)


CARD = Attention(
    title="Long convolution",
    year=2023,
    paper=Citation(
        authors=(
            "Daniel Y. Fu, Elliot L. Epstein, Eric Nguyen, Armin W. Thomas, Michael Zhang, Tri Dao, Atri Rudra, "
            "Christopher Ré"
        ),
        title="Simple Hardware-Efficient Long Convolutions for Sequence Modeling",
        venue="ICML",
        year=2023,
        arxiv="2302.06646",
    ),
    equations=(
        Equation(
            "squash",
            r"\bar{K}^{\pm}_l = \operatorname{sign}(K^{\pm}_l) \max(|K^{\pm}_l| - \lambda, 0)",
            r"$\lambda$ is the threshold",
        ),
        Equation(
            "conv",
            r"y_i = D x_i + \sum_{j \le i} \bar{K}^{+}_{i-j} x_j + \sum_{j > i} \bar{K}^{-}_{j-i-1} x_j",
        ),
        OUTPUT,
    ),
    cost="O(N·log N)",
    operations=gated_operations,
    transforms=lambda options, dims, length, ragged: conv_transforms(dims.width, length),
    once=lambda options, dims, length: Once(transforms=kernel_transforms(dims.width, length)),
    options=Options,
    # A threshold among kernels so small has a corner in every difference; a test of its own is about it.
    variants=(Options(threshold=0.0), Options(threshold=0.0, init="double_exp", glu=False)),
    inputs=("x",),
    params=params,
    groups={KERNEL: "kernel"},
    differs=(
        "Kernels have max_length lags; a sequence uses those below its length. The kernel has no dropout and no "
        "smoothing. Both directions." + DIFFERS
    ),
    rounding=ROUNDING,
)
