"""S4: every channel is a linear recurrence whose state matrix is diagonal plus a rank-one term, in both directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval
from jaxtyping import Float

from attention_impls.base import Arrays, Attention, Count, CountOrNone, Dims, Once
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.fourier import (
    ROUNDING,
    TWO_SIDED,
    conv_transforms,
    kernel_transforms,
    transform_length,
    transform_operations,
)
from attention_impls.ops.gated import DIFFERS, OUTPUT, SKIP, gated_operations, gated_params
from attention_impls.ops.hippo import normal_legs

DECAY, FREQUENCY, STEP = "log_decay", "frequency", "step"
P_REAL, P_IMAG, B_REAL, B_IMAG, C_REAL, C_IMAG = "p.real", "p.imag", "b.real", "b.imag", "c.real", "c.imag"
"""Complex parameters are two reals, since Adam scales each part by itself."""

SUMS = 6  # of C⁺, C⁻ and P* with B and P
Step = Annotated[float, Interval(ge=1e-6, le=10)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of S4."""

    state: Count = 64
    """Size S of a channel's state, even: S/2 conjugate pairs."""
    systems: CountOrNone = 1
    """Number of triples (Λ, P, B) that channels share: channel c uses number c modulo this; 0: no sharing."""
    step_min: Step = 1e-3
    """The smallest initial step size."""
    step_max: Step = 0.1
    """The largest initial step size. Logarithms of step sizes are drawn uniformly."""
    glu: bool = True
    """Mix the channels by a gated linear unit after the recurrence."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for a state without pairs, systems that do not divide the width, or steps in the wrong order."""
    if options.state % 2:
        raise ValueError(f"state is {options.state}, expected an even number: the state is conjugate pairs")
    if options.systems and dims.width % options.systems:
        raise ValueError(f"systems is {options.systems}, expected 0 or a divisor of the width, which is {dims.width}")
    if options.step_min > options.step_max:
        raise ValueError(f"step_min is {options.step_min}, expected at most step_max, which is {options.step_max}")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """LegS in every system, C complex normal with variance 1 for each direction and then corrected, D normal."""
    first, width, half = normal_legs(options.state), dims.width, options.state // 2
    pairs = (options.systems or width, half)
    low, high = math.log(options.step_min), math.log(options.step_max)
    step = np.exp(rng.uniform(low, high, width))
    readout = rng.normal(0, math.sqrt(0.5), (2, width, 2 * half))
    poles, inputs = first.eigenvalues, first.inputs
    # LegS has B = √2 P in every basis.
    corrected = _corrected(readout, poles, inputs / math.sqrt(2), step, period(dims))
    return {
        STEP: step + np.log(-np.expm1(-step)),
        DECAY: np.broadcast_to(np.log(-np.real(poles)), pairs).copy(),
        FREQUENCY: np.broadcast_to(np.imag(poles), pairs).copy(),
        P_REAL: np.broadcast_to(inputs / math.sqrt(2), pairs).copy(),
        P_IMAG: np.zeros(pairs),
        B_REAL: np.broadcast_to(inputs, pairs).copy(),
        B_IMAG: np.zeros(pairs),
        C_REAL: corrected[..., :half],
        C_IMAG: -corrected[..., half:],
        SKIP: rng.normal(size=width),
    } | gated_params(options, dims, rng)


def _corrected(
    readout: Float[np.ndarray, "2 C S"], poles: np.ndarray, p: np.ndarray, step: Float[np.ndarray, " C"], period: int
) -> Float[np.ndarray, "2 C S"]:
    """readout (I − Ā^M): of the state as real numbers, all real parts before all imaginary ones; p is real."""
    half, identity, decay, turn = len(poles), np.eye(2 * len(poles)), np.diag(np.real(poles)), np.diag(np.imag(poles))
    matrix = np.zeros((2 * half, 2 * half))
    matrix[:half, :half] = decay - 2 * np.outer(p, p)
    matrix[half:, half:] = decay
    matrix[half:, :half], matrix[:half, half:] = turn, -turn
    moved = step[:, None, None] / 2 * matrix
    power = np.linalg.matrix_power(np.linalg.solve(identity - moved, identity + moved), period)
    return readout - np.einsum("dcs,cst->dct", readout, power)


def period(dims: Dims) -> int:
    """Lags M of the kernels as they are made: as many as the longest sequence has, or a few more for a fast FFT."""
    return transform_length(dims.max_length)


def nodes(dims: Dims) -> int:
    """Frequencies at which the generating functions are evaluated: those of a real FFT of M lags."""
    return period(dims) // 2 + 1


def piece(pairs: int, dims: Dims) -> int:
    """Frequencies that are evaluated at a time: as many pieces as pairs, so that a piece is no larger than a kernel."""
    return -(-nodes(dims) // pairs)


def once(options: Options, dims: Dims, length: int) -> Once:
    """Making the kernels of both directions: a product with 1 / (z − Δλ) for each pair and frequency."""
    pairs = options.state // 2
    evaluated = pairs * piece(pairs, dims)
    kernels = transform_operations(period(dims), 2 * dims.width, real=True)
    return Once(
        operations=dims.width * 2 * SUMS * pairs * 2 * evaluated if length else 0,
        transforms=kernels + kernel_transforms(dims.width, length) if length else 0,
    )


def operations(options: Options, dims: Dims, length: int) -> int:
    """The kernels, and the gated unit."""
    return once(options, dims, length).operations + gated_operations(options, dims, length)


def transforms(options: Options, dims: Dims, length: int, ragged: bool) -> int:
    """Those of the kernels, whatever the length, and those of the convolution."""
    made = once(options, dims, length).transforms - kernel_transforms(dims.width, length)
    return made + conv_transforms(dims.width, length)


CARD = Attention(
    title="S4",
    year=2021,
    paper=Citation(
        authors="Albert Gu, Karan Goel, Christopher Ré",
        title="Efficiently Modeling Long Sequences with Structured State Spaces",
        venue="ICLR",
        year=2022,
        arxiv="2111.00396",
    ),
    equations=(
        Equation(
            "discrete",
            r"\bar{A} = \left(I - \tfrac{\Delta}{2} A\right)^{-1} \left(I + \tfrac{\Delta}{2} A\right), \quad "
            r"\bar{B} = \left(I - \tfrac{\Delta}{2} A\right)^{-1} \Delta B, \quad A = \Lambda - P P^{*}",
            r"bilinear; $\lambda_n = -e^{a_n} + i \omega_n$, $\Delta = \log(1 + e^{\delta})$",
        ),
        Equation(
            "kernel",
            r"K^{\pm}_l = C^{\pm} \bar{A}^l \bar{B}",
            "the recurrence, unrolled, of a state of size $S$ in conjugate pairs; its directions share all but $C$",
        ),
        Equation(
            "generating",
            r"\sum_{l=0}^{M-1} K_l \omega^l = \tilde{C} (I - \omega \bar{A})^{-1} \bar{B} = \frac{2}{1 + \omega} "
            r"\left( R_{\tilde{C}B} - \frac{R_{\tilde{C}P} R_{\hat{P}B}}{1 + R_{\hat{P}P}} \right), \quad "
            r"\tilde{C} = C (I - \bar{A}^M)",
            r"at $\omega^M = 1$, by Woodbury: $R_{XY} = \sum_n \Delta X_n Y_n / (z - \Delta \lambda_n)$ with "
            r"$z = 2 (1 - \omega) / (1 + \omega)$; $\hat{P}$ is the conjugate of $P$, $\tilde{C}$ is what is learned, "
            r"$M \ge$ the longest length",
        ),
        TWO_SIDED,
        OUTPUT,
    ),
    cost="O(N·log N + M·S)",
    operations=operations,
    transforms=transforms,
    once=once,
    memory=lambda options, dims, length: dims.width * (9 * period(dims) + length),
    options=Options,
    variants=(Options(state=8, systems=2), Options(state=4, systems=0, glu=False)),
    inputs=("x",),
    params=params,
    groups={DECAY: "state", FREQUENCY: "state", "p": "state", "b": "state", STEP: "step"},
    check=check,
    differs=(
        "Both directions, as in the authors' configurations for this benchmark. The step size is a softplus, as in "
        "their newest code; the paper has an exponential. A kernel always has the M lags of the longest sequence, "
        "and a shorter sequence uses its first ones. The authors' kernel grows with the lengths it meets. B and P of "
        "LegS are real at the start. The code clips an imaginary part of B that depends on the linear algebra "
        "library." + DIFFERS
    ),
    rounding=ROUNDING,
)
