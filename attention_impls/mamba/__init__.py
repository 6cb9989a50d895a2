"""Mamba: a gated recurrence whose step size, inputs and outputs depend on the token, run in both directions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, CountOrNone, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.scan import scan_operations

IN, OUT = "in.weight", "out.weight"
CONV, CONV_BIAS = "conv.weight", "conv.bias"
SELECT, STEP, STEP_BIAS = "select.weight", "step.weight", "step.bias"
DECAY, SKIP = "log_decay", "skip"

CHUNK = 256
"""Tokens whose states a GPU holds together. All states would take a gigabyte at 64 channels and 65,536 tokens."""

LEAST_STEP = 1e-4
"""The least initial step size."""

Step = Annotated[float, Interval(ge=1e-6, le=10)]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Mamba."""

    state: Count = 16
    """States S of an inner channel."""
    expand: Annotated[int, Interval(ge=1, le=16)] = 2
    """Inner channels E as a multiple of the layer's channels."""
    taps: Annotated[int, Interval(ge=1, le=64)] = 4
    """Taps of the short causal convolution."""
    rank: CountOrNone = 0
    """Rank R of a token's step sizes; 0: a sixteenth of the layer's channels, rounded up."""
    step_min: Step = 1e-3
    """The smallest initial step size."""
    step_max: Step = 0.1
    """The largest initial step size. Logarithms of step sizes are drawn uniformly."""
    bidirectional: bool = True
    """Use a convolution and a recurrence in each direction, instead of causal ones."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for steps in the wrong order."""
    if options.step_min > options.step_max:
        raise ValueError(f"step_min is {options.step_min}, expected at most step_max, which is {options.step_max}")


def inner(options: Options, dims: Dims) -> int:
    """Inner channels E."""
    return options.expand * dims.width


def rank(options: Options, dims: Dims) -> int:
    """Rank R of a token's step sizes."""
    return options.rank or -(-dims.width // 16)


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Products as PyTorch's, A = −1 … −S in each channel, step sizes from their bias, D one; each direction its own."""
    ways, width, channels, steps = 1 + options.bidirectional, dims.width, inner(options, dims), rank(options, dims)

    def uniform(inputs: int, *shape: int) -> np.ndarray:
        return rng.uniform(-1, 1, shape) / math.sqrt(inputs)

    first = np.exp(rng.uniform(math.log(options.step_min), math.log(options.step_max), (ways, channels)))
    first = np.maximum(first, LEAST_STEP)
    return {
        IN: uniform(width, width, 2 * channels),
        CONV: uniform(options.taps, ways, channels, options.taps),
        CONV_BIAS: uniform(options.taps, ways, channels),
        SELECT: uniform(channels, ways, channels, steps + 2 * options.state),
        STEP: uniform(steps, ways, steps, channels),
        STEP_BIAS: first + np.log(-np.expm1(-first)),
        DECAY: np.broadcast_to(np.log(np.arange(options.state) + 1.0), (ways, channels, options.state)).copy(),
        SKIP: np.ones((ways, channels)),
        OUT: uniform(channels, channels, width),
    }


def operations(options: Options, dims: Dims, length: int) -> int:
    """Products into and out of the inner channels, and in each direction those that select and that read the state."""
    channels, steps = inner(options, dims), rank(options, dims)
    way = channels * (steps + 2 * options.state) + steps * channels + channels * options.state
    return length * (3 * channels * dims.width + (1 + options.bidirectional) * way)


def scans(options: Options, dims: Dims, length: int) -> int:
    """The recurrences of all inner channels."""
    states = (1 + options.bidirectional) * inner(options, dims) * options.state
    return scan_operations(states, length, of_complex=False)


def memory(options: Options, dims: Dims, length: int) -> int:
    """A few numbers for each token and inner channel. A GPU holds a chunk's states in addition."""
    return inner(options, dims) * (4 * (1 + options.bidirectional) + 5) * length


CARD = Attention(
    title="Mamba",
    year=2023,
    paper=Citation(
        authors="Albert Gu, Tri Dao",
        title="Mamba: Linear-Time Sequence Modeling with Selective State Spaces",
        venue="COLM",
        year=2024,
        arxiv="2312.00752",
    ),
    also=(
        Citation(
            authors="Lianghui Zhu, Bencheng Liao, Qian Zhang, Xinlong Wang, Wenyu Liu, Xinggang Wang",
            title="Vision Mamba: Efficient Visual Representation Learning with Bidirectional State Space Model",
            venue="ICML",
            year=2024,
            arxiv="2401.09417",
        ),
    ),
    equations=(
        Equation("input", r"[u_i, z_i] = W_{\text{in}} x_i"),
        Equation(
            "conv",
            r"v_i = \operatorname{SiLU}\left(b + \sum_{s=0}^{T-1} w_s \odot u_{i-s}\right)",
            "from here to (read) the other direction does the same with arrays of its own, from the last token on",
        ),
        Equation(
            "select",
            r"[\delta_i, B_i, C_i] = W_{\text{sel}} v_i, \quad "
            r"\Delta_i = \log(1 + e^{W_{\Delta} \delta_i + b_{\Delta}})",
        ),
        Equation(
            "state",
            r"h_i = e^{\Delta_i A} \odot h_{i-1} + (\Delta_i \odot v_i) B_i^\top",
            r"$h_i$ has $E \times S$ numbers; $A = -e^{a}$, and $\Delta_i$ multiplies its rows",
        ),
        Equation("read", r"y_i = h_i C_i + D \odot v_i"),
        Equation("output", r"O_i = W_{\text{out}} \left((y^{+}_i + y^{-}_i) \odot \operatorname{SiLU}(z_i)\right)"),
    ),
    cost="O(N·D·S)",
    operations=operations,
    scans=scans,
    memory=memory,
    options=Options,
    variants=(
        Options(state=4, rank=3),
        Options(state=3, expand=1, taps=2, bidirectional=False),
    ),
    inputs=("x",),
    params=params,
    groups={DECAY: "state", SKIP: "state"},
    check=check,
    differs=(
        "Both directions by default, as in Vision Mamba. Each has its own convolution, selection and recurrence; "
        "they share the projections and the gate. Published results on this benchmark do not state their direction. "
        "B is multiplied by Δ, as in the authors' code; the paper's text has a zero-order hold. The encoder's output "
        "projection follows, where the authors' block ends."
    ),
)
