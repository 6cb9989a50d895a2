"""S5: one linear recurrence for all channels, with a diagonal complex state, run over the tokens in both directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval
from jaxtyping import Complex, Float

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.diagonal import diagonal_operations, diagonal_scans, directions, in_parts
from attention_impls.ops.gated import DIFFERS, SKIP, gated_operations, gated_params
from attention_impls.ops.hippo import normal_basis, normal_legs

REAL, IMAG, STEP = "eigenvalue.real", "eigenvalue.imag", "log_step"

LEAST_DECAY = 1e-4
"""The negative of the bound on real parts, if `clip` is on."""

Step = Annotated[float, Interval(ge=1e-6, le=10)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of S5."""

    state: Count = 128
    """Size of the layer's state: half as many conjugate pairs."""
    blocks: Count = 8
    """Number of equal blocks of the initial state matrix, each HiPPO-LegS's normal part."""
    first_c: Literal["lecun", "rows", "normal"] = "rows"
    """Initial C: normal of variance 1/(C·state), or 1/state, in the blocks' coordinates; or ½ in those of pairs."""
    step_min: Step = 1e-3
    """The smallest initial step size."""
    step_max: Step = 0.1
    """The largest initial step size. Logarithms are drawn uniformly, one for each pair."""
    clip: bool = False
    """Keep the real parts of the eigenvalues below −0.0001, so that no state can grow."""
    bidirectional: bool = True
    """Use a recurrence in each direction, instead of a causal one."""
    glu: Literal["none", "half1", "half2", "full"] = "half1"
    """The mixing of channels after the recurrence: none; gates on GELU(y); gates on y; a gated linear unit."""


def pairs(options: Options) -> int:
    """Conjugate pairs of all blocks."""
    return options.state // 2


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for blocks without pairs, or for steps in the wrong order."""
    if options.state % (2 * options.blocks):
        raise ValueError(
            f"state is {options.state}, expected a multiple of {2 * options.blocks}: each of {options.blocks} blocks "
            "is conjugate pairs"
        )
    if options.step_min > options.step_max:
        raise ValueError(f"step_min is {options.step_min}, expected at most step_max, which is {options.step_max}")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """HiPPO-LegS's normal part in each block, B and C normal in the blocks' coordinates, D normal."""
    size, width = options.state // options.blocks, dims.width
    eigenvalues = normal_legs(size).eigenvalues
    blocks = (options.blocks, size // 2)
    steps = rng.uniform(math.log(options.step_min), math.log(options.step_max), blocks)
    inputs = _truncated(rng, (options.blocks, size, width)) / math.sqrt(options.state)
    b = np.einsum("sp,bsc->bpc", normal_basis(size).conj(), inputs).reshape(-1, width)
    return {
        STEP: steps,
        REAL: np.full(blocks, -0.5),
        IMAG: np.broadcast_to(np.imag(eigenvalues), blocks).copy(),
        **in_parts(b, _first_c(options, dims, rng)),
        SKIP: rng.normal(size=width),
    } | gated_params(options, dims, rng)


def _first_c(options: Options, dims: Dims, rng: np.random.Generator) -> Complex[np.ndarray, "way C pairs"]:
    """C before training: in the coordinates of the pairs, or turned into them."""
    ways, width = directions(options), dims.width
    if options.first_c == "normal":
        real, imag = rng.normal(0, math.sqrt(0.5), (2, ways, width, pairs(options)))
        return real + 1j * imag
    size = options.state // options.blocks
    real, imag = _truncated(rng, (2, ways, width, options.blocks, size))
    # Flax takes every axis but the last two of a shape (C, state, 2) for places of a convolution.
    inputs = options.state * (width if options.first_c == "lecun" else 1)
    turned = np.einsum("wcbs,sp->wcbp", (real + 1j * imag) / math.sqrt(inputs), normal_basis(size))
    return turned.reshape(ways, width, -1)


def _truncated(rng: np.random.Generator, shape: tuple[int, ...]) -> Float[np.ndarray, "*shape"]:
    """Normal numbers of at most two standard deviations, scaled to variance 1: those of LeCun's initialisation."""
    drawn = rng.normal(size=shape)
    while (beyond := np.abs(drawn) > 2).any():
        drawn[beyond] = rng.normal(size=beyond.sum())
    return drawn / 0.87962566103423978  # the standard deviation of what is left


def operations(options: Options, dims: Dims, length: int) -> int:
    """The products with B and C, and the gated unit."""
    return diagonal_operations(pairs(options), options, dims, length) + gated_operations(options, dims, length)


CARD = Attention(
    title="S5",
    year=2022,
    paper=Citation(
        authors="Jimmy T. H. Smith, Andrew Warrington, Scott W. Linderman",
        title="Simplified State Space Layers for Sequence Modeling",
        venue="ICLR",
        year=2023,
        arxiv="2208.04933",
    ),
    equations=(
        Equation(
            "discrete",
            r"\bar{\lambda} = e^{\Delta \lambda}, \quad \bar{B} = \frac{e^{\Delta \lambda} - 1}{\lambda} \odot B",
            r"zero-order hold; $\lambda$ and $\Delta$ are each pair's own",
        ),
        Equation(
            "state",
            r"h^{+}_i = \bar{\lambda} \odot h^{+}_{i-1} + \bar{B} x_i, \quad "
            r"h^{-}_i = \bar{\lambda} \odot h^{-}_{i+1} + \bar{B} x_i",
        ),
        Equation(
            "read",
            r"y_i = D \odot x_i + 2 \operatorname{Re}(C^{+} h^{+}_i + C^{-} h^{-}_i)",
            "one of each conjugate pair is kept",
        ),
        Equation(
            "output",
            r"O = g \odot \sigma(W \, g), \quad g = \operatorname{GELU}(y)",
            r"with a bias; half2 has $y \odot \sigma(W \, g)$, full $(U \, g) \odot \sigma(W \, g)$, none $O = g$",
        ),
    ),
    cost="O(N·D·S)",
    operations=operations,
    scans=lambda options, dims, length: diagonal_scans(pairs(options), options, length),
    options=Options,
    variants=(
        Options(state=16, blocks=2),
        Options(state=8, blocks=2, first_c="normal", clip=True, bidirectional=False, glu="half2"),
        Options(state=8, blocks=2, first_c="lecun", glu="full"),
    ),
    inputs=("x",),
    params=params,
    groups={"eigenvalue": "state", "b": "state", STEP: "step"},
    check=check,
    differs=(
        "Zero-order hold only. B trains with the state matrix, as in the authors' standard mode. Eigenvectors are "
        "rotated so that LegS's B is real, which changes no output. There is no batch normalisation: the encoder's "
        "own norm comes first." + DIFFERS
    ),
)
