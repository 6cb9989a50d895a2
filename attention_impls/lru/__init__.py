"""LRU: a linear recurrence with a diagonal complex state, normalised so that long memories do not grow too large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.diagonal import diagonal_operations, diagonal_scans, directions, in_parts
from attention_impls.ops.gated import DIFFERS, OUTPUT, SKIP, gated_operations, gated_params

DECAY, PHASE, GAIN = "log_decay", "log_phase", "log_gain"

Radius = Annotated[float, Interval(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the LRU."""

    state: Count = 128
    """Complex states S of the layer."""
    radius_min: Radius = 0.0
    """The smallest initial modulus of an eigenvalue."""
    radius_max: Radius = 0.99
    """The largest initial modulus of an eigenvalue. Squares are drawn uniformly between both."""
    phase_max: Annotated[float, Interval(gt=0, le=7)] = math.tau
    """The largest initial phase of an eigenvalue. Phases are drawn uniformly from 0 to it."""
    bidirectional: bool = True
    """Use a recurrence in each direction, instead of a causal one."""
    glu: bool = True
    """Mix the channels by a gated linear unit after the recurrence."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for radii in the wrong order."""
    if options.radius_min > options.radius_max:
        raise ValueError(
            f"radius_min is {options.radius_min}, expected at most radius_max, which is {options.radius_max}"
        )


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Eigenvalues uniform on a ring, B and C normal, with which outputs of white inputs are of size 1, and D normal."""
    states, width = options.state, dims.width
    low, high = options.radius_min**2, options.radius_max**2
    share, turn = 1 - rng.random((2, states))  # greater than 0, for the logarithm
    squares = low + (high - low) * share
    b = rng.normal(0, math.sqrt(0.5 / width), (2, states, width))
    c = rng.normal(0, math.sqrt(1 / states), (2, directions(options), width, states))
    return {
        DECAY: np.log(-0.5 * np.log(squares)),
        PHASE: np.log(options.phase_max * turn),
        GAIN: 0.5 * np.log1p(-squares),
        **in_parts(b[0] + 1j * b[1], c[0] + 1j * c[1]),
        SKIP: rng.normal(size=width),
    } | gated_params(options, dims, rng)


def operations(options: Options, dims: Dims, length: int) -> int:
    """The products with B and C, and the gated unit."""
    return diagonal_operations(options.state, options, dims, length) + gated_operations(options, dims, length)


CARD = Attention(
    title="LRU",
    year=2023,
    paper=Citation(
        authors="Antonio Orvieto, Samuel L. Smith, Albert Gu, Anushan Fernando, Caglar Gulcehre, Razvan Pascanu, "
        "Soham De",
        title="Resurrecting Recurrent Neural Networks for Long Sequences",
        venue="ICML",
        year=2023,
        arxiv="2303.06349",
    ),
    equations=(
        Equation("decay", r"\lambda = \exp(-e^{\nu} + i e^{\theta})", "one for each state of the layer"),
        Equation(
            "state",
            r"h^{+}_i = \lambda \odot h^{+}_{i-1} + e^{\gamma} \odot B x_i, \quad "
            r"h^{-}_i = \lambda \odot h^{-}_{i+1} + e^{\gamma} \odot B x_i",
            r"at first $e^{\gamma} = \sqrt{1 - |\lambda|^2}$",
        ),
        Equation("read", r"y_i = D \odot x_i + \operatorname{Re}(C^{+} h^{+}_i + C^{-} h^{-}_i)"),
        OUTPUT,
    ),
    cost="O(N·D·S)",
    operations=operations,
    scans=lambda options, dims, length: diagonal_scans(options.state, options, length),
    options=Options,
    variants=(
        Options(state=8),
        Options(state=6, radius_min=0.9, radius_max=0.999, phase_max=0.3, bidirectional=False, glu=False),
    ),
    inputs=("x",),
    params=params,
    groups={DECAY: "state", PHASE: "state", GAIN: "state", "b": "state"},
    check=check,
    differs=(
        "Both directions by default. The paper has them for Pathfinder and Path-X only and does not describe them. "
        "Here they share everything except C, as in S5, and both include a token's own input." + DIFFERS
    ),
)
