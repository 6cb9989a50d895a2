"""SGConv: every channel has a kernel as long as the sequence, in pieces that grow coarser and smaller with the lag."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval
from jaxtyping import Float

from attention_impls.base import Arrays, Attention, Count, Dims, Once
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.fourier import ROUNDING, TWO_SIDED, conv_transforms, kernel_transforms
from attention_impls.ops.gated import DIFFERS, OUTPUT, SKIP, gated_operations, gated_params

KERNEL = "kernel"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of SGConv."""

    taps: Count = 64
    """Learned numbers in each piece of a channel's kernel, d in the paper."""
    decay: Annotated[float, Interval(ge=1, le=16)] = 2.0
    """The ratio of the sizes of one piece and the next one, before training."""
    glu: bool = True
    """Mix the channels by a gated linear unit after the convolution."""


def factors(options: Options, dims: Dims) -> list[int]:
    """The number of lags of a tap in each piece, from the nearest piece to the farthest: 1, 1, 2, 4, and so on."""
    pieces = 1 + max(0, math.ceil(math.log2(dims.max_length / options.taps)))
    return [2 ** max(0, piece - 1) for piece in range(pieces)]


def sizes(options: Options, dims: Dims) -> list[float]:
    """What each piece is multiplied by: powers of the decay over the norm that such a kernel has before training.

    The authors measure that norm in the first forward pass. Here it is its expectation, and `params` makes it exact.
    """
    stretched = factors(options, dims)
    powers = [options.decay**power for power in reversed(range(len(stretched)))]
    norm = math.sqrt(
        sum(power**2 * _squares(options.taps, factor) for power, factor in zip(powers, stretched, strict=True))
    )
    return [power / norm for power in powers]


def _squares(taps: int, factor: int) -> float:
    """The expected sum of squares of normal taps, interpolated; the outer half of the outer taps' lags has one tap."""
    # Σ (1 − |w|)² + w² over the ways w of one tap's lags, in plain numbers, which torch.compile does not trace.
    inner = factor - (factor / 2 if factor > 1 else 0) + (factor**2 - 1) / (6 * factor)
    return taps * inner + factor - inner


def _stretched(taps: Float[np.ndarray, "*rows taps"], factor: int) -> Float[np.ndarray, "*rows lags"]:
    """Linear interpolation to so many times as many points, flat beyond the outer taps."""
    points = (np.arange(factor * taps.shape[-1]) + 0.5) / factor - 0.5
    at = np.clip(points, 0, taps.shape[-1] - 1)
    low = np.minimum(at.astype(int), max(taps.shape[-1] - 2, 0))
    high = np.minimum(low + 1, taps.shape[-1] - 1)
    return taps[..., low] * (1 - (at - low)) + taps[..., high] * (at - low)


def needed(options: Options, dims: Dims, tokens: int) -> list[tuple[float, int]]:
    """Size and factor of each piece; the factor is 0 where a piece begins behind the last lag of so many tokens."""
    found, begin = [], 0
    for size, factor in zip(sizes(options, dims), factors(options, dims), strict=True):
        found.append((size, factor if begin < tokens else 0))
        begin += options.taps * factor
    return found


def between(factor: int) -> Float[np.ndarray, " factor"]:
    """Where the lags of one tap lie on the way to its neighbours: −½ … ½; nowhere for a factor of 0."""
    return (np.arange(factor) + 0.5) / max(factor, 1) - 0.5


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Taps (2, C, taps) of each piece, normal, scaled so that each channel's kernel has norm 1; D normal."""
    pieces = [rng.normal(size=(2, dims.width, options.taps)) for _ in factors(options, dims)]
    whole = [
        size * _stretched(piece, factor)
        for size, piece, factor in zip(sizes(options, dims), pieces, factors(options, dims), strict=True)
    ]
    norm = np.linalg.norm(np.concatenate(whole, 2), axis=2, keepdims=True)
    learned = {f"{KERNEL}.{number}": piece / norm for number, piece in enumerate(pieces)}
    return learned | {SKIP: rng.normal(size=dims.width)} | gated_params(options, dims, rng)


CARD = Attention(
    title="SGConv",
    year=2022,
    paper=Citation(
        authors="Yuhong Li, Tianle Cai, Yi Zhang, Deming Chen, Debadeepta Dey",
        title="What Makes Convolutional Models Great on Long Sequence Modeling?",
        venue="ICLR",
        year=2023,
        arxiv="2210.09298",
    ),
    equations=(
        Equation(
            "kernel",
            r"K^{\pm} = \frac{1}{Z} \left[ \alpha^{M-1} w^{\pm}_0, \; \alpha^{M-2} \operatorname{Up}_1(w^{\pm}_1), \; "
            r"\alpha^{M-3} \operatorname{Up}_2(w^{\pm}_2), \; \alpha^{M-4} \operatorname{Up}_4(w^{\pm}_3), "
            r"\; \dots \right]",
            r"$\operatorname{Up}_s$ interpolates linearly to $s$ times as many lags; $\alpha$ is the decay",
        ),
        TWO_SIDED,
        OUTPUT,
    ),
    cost="O(N·log N)",
    operations=gated_operations,
    transforms=lambda options, dims, length, ragged: conv_transforms(dims.width, length),
    once=lambda options, dims, length: Once(transforms=kernel_transforms(dims.width, length)),
    options=Options,
    variants=(Options(taps=8), Options(taps=16, decay=1.5, glu=False)),
    inputs=("x",),
    params=params,
    groups={KERNEL: "kernel"},
    differs=(
        "The authors divide by the kernel's norm in their first forward pass. Here Z is the expectation of that "
        "norm, and the first taps are scaled so that each kernel has norm 1. No batch decides it. One decay serves "
        "all channels, as in their default. The number of pieces follows from max_length; a sequence uses the lags "
        "below its length. Both directions." + DIFFERS
    ),
    rounding=ROUNDING,
)
