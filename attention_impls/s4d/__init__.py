"""S4D: every channel is a linear recurrence with a diagonal complex state, run over the tokens in both directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, Dims, Once
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.fourier import ROUNDING, TWO_SIDED, conv_transforms, kernel_transforms, piece
from attention_impls.ops.gated import DIFFERS, OUTPUT, SKIP, gated_operations, gated_params
from attention_impls.ops.hippo import Normal, normal_legs

DECAY, FREQUENCY, STEP = "log_decay", "frequency", "log_step"
B_REAL, B_IMAG, C_REAL, C_IMAG = "b.real", "b.imag", "c.real", "c.imag"
"""Complex parameters are two reals, since Adam scales each part by itself."""

Step = Annotated[float, Interval(ge=1e-6, le=10)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of S4D."""

    init: Literal["lin", "inv", "legs"] = "lin"
    """Initial eigenvalues: lin: equally spaced frequencies; inv: an inverse law; legs: HiPPO-LegS's normal part."""
    state: Count = 64
    """Size S of a channel's state, even: S/2 conjugate pairs."""
    step_min: Step = 1e-3
    """The smallest initial step size."""
    step_max: Step = 0.1
    """The largest initial step size. Logarithms of step sizes are drawn uniformly."""
    glu: bool = True
    """Mix the channels by a gated linear unit after the recurrence."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for a state without pairs, or for steps in the wrong order."""
    if options.state % 2:
        raise ValueError(f"state is {options.state}, expected an even number: the state is conjugate pairs")
    if options.step_min > options.step_max:
        raise ValueError(f"step_min is {options.step_min}, expected at most step_max, which is {options.step_max}")


def first_state(options: Options) -> Normal:
    """One channel's eigenvalues and inputs' matrix before training."""
    n, state = np.arange(options.state // 2), options.state
    if options.init == "legs":
        return normal_legs(state)
    frequencies = math.pi * n if options.init == "lin" else state / math.pi * (state / (2 * n + 1) - 1)
    return Normal(-0.5 + 1j * frequencies, np.ones(len(n)))


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The same state in every channel, C complex normal with variance 1 for each direction, D normal."""
    first, width = first_state(options), dims.width
    pairs = (width, options.state // 2)
    low, high = math.log(options.step_min), math.log(options.step_max)
    return {
        STEP: rng.uniform(low, high, width),
        DECAY: np.broadcast_to(np.log(-np.real(first.eigenvalues)), pairs).copy(),
        FREQUENCY: np.broadcast_to(np.imag(first.eigenvalues), pairs).copy(),
        B_REAL: np.broadcast_to(first.inputs, pairs).copy(),
        B_IMAG: np.zeros(pairs),
        C_REAL: rng.normal(0, math.sqrt(0.5), (2, *pairs)),
        C_IMAG: rng.normal(0, math.sqrt(0.5), (2, *pairs)),
        SKIP: rng.normal(size=width),
    } | gated_params(options, dims, rng)


def once(options: Options, dims: Dims, length: int) -> Once:
    """Making the kernels of both directions: real and imaginary parts of S/2 powers for each lag."""
    lags = -(-length // piece(length)) * piece(length)
    kernels = 2 * dims.width * options.state * lags
    return Once(operations=kernels, transforms=kernel_transforms(dims.width, length))


def operations(options: Options, dims: Dims, length: int) -> int:
    """The kernels, and the gated unit."""
    return once(options, dims, length).operations + gated_operations(options, dims, length)


CARD = Attention(
    title="S4D",
    year=2022,
    paper=Citation(
        authors="Albert Gu, Ankit Gupta, Karan Goel, Christopher Ré",
        title="On the Parameterization and Initialization of Diagonal State Space Models",
        venue="NeurIPS",
        year=2022,
        arxiv="2206.11893",
    ),
    also=(
        Citation(
            authors="Albert Gu, Karan Goel, Christopher Ré",
            title="Efficiently Modeling Long Sequences with Structured State Spaces",
            venue="ICLR",
            year=2022,
            arxiv="2111.00396",
        ),
    ),
    equations=(
        Equation(
            "discrete",
            r"\bar{A}_n = e^{\Delta \lambda_n}, \quad \bar{B}_n = \frac{e^{\Delta \lambda_n} - 1}{\lambda_n} B_n",
            r"zero-order hold; $\lambda_n = -e^{a_n} + i \omega_n$ and $\Delta$ are each channel's own",
        ),
        Equation(
            "kernel",
            r"K^{\pm}_l = 2 \operatorname{Re} \sum_{n=1}^{S/2} C^{\pm}_n \bar{B}_n \bar{A}_n^l",
            "the recurrence, unrolled, of a state of size $S$; its directions share all but $C$",
        ),
        TWO_SIDED,
        OUTPUT,
    ),
    cost="O(N·log N + N·S)",
    operations=operations,
    transforms=lambda options, dims, length, ragged: conv_transforms(dims.width, length),
    once=once,
    options=Options,
    variants=(Options(state=8), Options(state=8, init="inv"), Options(state=8, init="legs", glu=False)),
    inputs=("x",),
    params=params,
    groups={
        DECAY: "state",
        FREQUENCY: "state",
        "b": "state",
        STEP: "step",
    },
    check=check,
    differs=(
        "Both directions, as in the authors' configurations for this benchmark. The step size is e^parameter, as in "
        "the paper; their newest code has a softplus there. Zero-order hold only. Every channel has its own state "
        "matrix; the code can tie them. The B of LegS is real at the start. The code clips an imaginary part that "
        "depends on the linear algebra library." + DIFFERS
    ),
    rounding=ROUNDING,
)
