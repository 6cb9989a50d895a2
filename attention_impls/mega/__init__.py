"""Mega: a moving average of each channel in both directions, and one head of attention that it feeds and gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, Count, CountOrNone, Dims, Once
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.fourier import ROUNDING, conv_transforms, kernel_transforms, piece

ALPHA, DELTA, BETA, GAMMA, OMEGA = "average.alpha", "average.delta", "average.beta", "average.gamma", "average.omega"
VALUE, BASE, GATED = "value", "base", "gated"
SCALE, OFFSET, POSITIONS = "scale", "offset", "positions"

MEAN, SPREAD = 0.5**0.5, (4 * np.pi) ** -0.5
"""μ and σ of the Laplace attention: at μ it and its slope are those of the squared ReLU, which it stands for."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Mega."""

    chunk: CountOrNone = 0
    """Tokens of the chunks within which attention works, as in Mega-chunk; 0: the whole sequence."""
    weights: Literal["softmax", "laplace"] = "softmax"
    """The function of the scores: a softmax, or a Laplace function of each score alone."""
    hidden: CountOrNone = 0
    """Channels of the values; 0: twice the layer's width."""
    shared: Count = 64
    """Channels of queries and keys, which share a projection."""
    order: Count = 16
    """Number of averages of each channel and direction."""
    lags: CountOrNone = 1024
    """Lags after which the moving average ends; 0: no end."""
    std: Annotated[float, Interval(gt=0, le=10)] = 0.02
    """Standard deviation of initial weights and positions."""


def hidden(options: Options, dims: Dims) -> int:
    """Channels of the values."""
    return options.hidden or 2 * dims.width


def reach(options: Options, tokens: int) -> int:
    """Lags of a moving average over this many tokens."""
    return min(options.lags or tokens, tokens)


def block(options: Options, tokens: int) -> int:
    """Tokens of one chunk."""
    return min(options.chunk or tokens, tokens)


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Averages (2, C, order), forwards and backwards; dense weights (inputs, outputs) without bias at first."""
    width, values, shared = dims.width, hidden(options, dims), options.shared
    averages, outputs = (2, width, options.order), shared + values + 2 * width
    signs = np.where(np.arange(options.order) % 2, -1.0, 1.0)
    return {
        DELTA: rng.normal(0, 0.2, averages),
        ALPHA: rng.normal(0, 0.2, averages),
        BETA: signs + rng.normal(0, options.std, averages),
        GAMMA: rng.normal(size=averages),
        OMEGA: rng.normal(size=width),
        f"{VALUE}.weight": rng.normal(0, options.std, (width, values)),
        f"{VALUE}.bias": np.zeros(values),
        f"{BASE}.weight": rng.normal(0, options.std, (width, outputs)),
        f"{BASE}.bias": np.zeros(outputs),
        f"{GATED}.weight": rng.normal(0, options.std, (values, width)),
        f"{GATED}.bias": np.zeros(width),
        SCALE: rng.normal(0, options.std, (2, shared)),
        OFFSET: np.zeros((2, shared)),
        POSITIONS: rng.normal(0, options.std, 2 * (options.chunk or dims.max_length) - 1),
    }


def once(options: Options, dims: Dims, length: int) -> Once:
    """Making the kernels of both directions, a sum over the averages for each lag."""
    lags = reach(options, length)
    made = -(-lags // piece(lags)) * piece(lags)
    return Once(operations=2 * dims.width * options.order * made, transforms=kernel_transforms(dims.width, length))


def operations(options: Options, dims: Dims, length: int) -> int:
    """The kernels, the dense layers, and scores and averages of values in each chunk, the last one filled up."""
    width, values = dims.width, hidden(options, dims)
    dense = width * (values + options.shared + values + 2 * width) + values * width
    size = block(options, length)
    pairs = -(-length // max(size, 1)) * size**2
    return once(options, dims, length).operations + length * dense + pairs * (options.shared + values)


def memory(options: Options, dims: Dims, length: int) -> int:
    """Scores, and the rows of dense layers and transforms."""
    return 3 * block(options, length) * length + 20 * dims.width * length


CARD = Attention(
    title="Mega",
    year=2022,
    paper=Citation(
        authors=(
            "Xuezhe Ma, Chunting Zhou, Xiang Kong, Junxian He, Liangke Gui, Graham Neubig, Jonathan May, "
            "Luke Zettlemoyer"
        ),
        title="Mega: Moving Average Equipped Gated Attention",
        venue="ICLR",
        year=2023,
        arxiv="2209.10655",
    ),
    equations=(
        Equation(
            "average",
            r"K^{\pm}_l = \sum_{n} \frac{\gamma_n}{\sqrt{h}} \, p_n \beta_n \, q_n^l, \quad "
            r"p_n = \sigma(\delta_n), \quad q_n = 1 - p_n \, \sigma(\alpha_n)",
            "the damped moving average, unrolled, of each channel in $h$ dimensions; zero from the last lag on",
        ),
        Equation(
            "moved",
            r"m_i = \operatorname{SiLU}\Bigl(\sum_{j \le i} K^{+}_{i-j} x_j + \sum_{j \ge i} K^{-}_{j-i} x_j + "
            r"\omega \odot x_i\Bigr)",
        ),
        Equation(
            "base",
            r"u = \sigma(W_u m), \quad z, r = \operatorname{SiLU}(W_z m, W_r m), \quad v = \operatorname{SiLU}(W_v x), "
            r"\quad q = \kappa_q \odot z + \mu_q, \quad k = \kappa_k \odot z + \mu_k",
            "with biases",
        ),
        Equation(
            "attention",
            r"o_i = \sum_j f(q_i, k_j) \, v_j, \quad f = \operatorname{softmax}_j\left(\frac{q_i^\top k_j}{\sqrt{s}} + "
            r"b_{j-i}\right) \text{ or } \frac{1}{2} \left(1 + \operatorname{erf} \frac{q_i^\top k_j / c + b_{j-i} - "
            r"\mu}{\sigma \sqrt{2}}\right)",
            r"over the $c$ tokens of the sequence or of a chunk; $s$ is the size of $z$, $\mu = \sqrt{1/2}$, "
            r"$\sigma = \sqrt{1/4\pi}$",
        ),
        Equation(
            "output",
            r"O = u \odot (\hat{h} - y), \quad \hat{h} = \operatorname{SiLU}(W_h m + U_h (o \odot r))",
            "$y$ is the stream before the norm, to which the layer adds $O$",
        ),
    ),
    cost="O(N²·D); O(N·c·D + N·log N) in chunks",
    operations=operations,
    transforms=lambda options, dims, length, ragged: conv_transforms(dims.width, length),
    once=once,
    memory=memory,
    options=Options,
    variants=(
        Options(hidden=24, shared=8, order=4, lags=0, std=0.5),
        Options(chunk=16, weights="laplace", hidden=12, shared=4, order=4, lags=10, std=0.5),
    ),
    quadratic=True,
    residual=True,
    inputs=("x",),
    params=params,
    differs=(
        "The encoder's output projection follows unless the model has none; the authors' layer ends with the gate. "
        "Their feed-forward layer has a SiLU, the encoder's a GELU. Norms are the encoder's. Dropout applies to the "
        "candidate ĥ alone. Positions cover max_length or a chunk. Outside the encoder there is no residual stream, "
        "and y is x. A chunk's c counts its real tokens."
    ),
    rounding=ROUNDING,
)
