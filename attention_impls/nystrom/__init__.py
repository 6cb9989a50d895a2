"""Nyströmformer: softmax attention through landmarks, the means of segments of queries and of keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Count, CountOrNone, Dims, Equality, Iterations
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.token_conv import check_kernel, token_conv_operations, token_conv_params


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Nyströmformer."""

    landmarks: Count = 128
    """Segments that the sequence is cut into; the mean query and the mean key of each are its landmarks."""
    iterations: Iterations = 6
    """Steps of the iteration for the pseudo-inverse."""
    conv_kernel: CountOrNone = 35
    """Taps of a depthwise convolution of V that is added to the output; an odd number, or 0 for none."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for an even kernel."""
    check_kernel(options.conv_kernel)


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The convolution's filters, if it is on."""
    return token_conv_params(options.conv_kernel, dims, rng) if options.conv_kernel else {}


def operations(options: Options, dims: Dims, length: int) -> int:
    """Four products of tokens with landmarks, two of landmarks with landmarks, four m³ an iteration; convolution."""
    m = min(options.landmarks, length)
    attention = dims.head_dim * (4 * length * m + 2 * m**2) + 4 * options.iterations * m**3
    conv = token_conv_operations(options.conv_kernel, dims, length) if options.conv_kernel else 0
    return dims.heads * attention + conv


CARD = Attention(
    title="Nyströmformer",
    year=2021,
    paper=Citation(
        authors=("Yunyang Xiong, Zhanpeng Zeng, Rudrasis Chakraborty, Mingxing Tan, Glenn Fung, Yin Li, Vikas Singh"),
        title="Nyströmformer: A Nyström-Based Algorithm for Approximating Self-Attention",
        venue="AAAI",
        year=2021,
        arxiv="2102.03902",
    ),
    equations=(
        Equation(
            "landmarks",
            (
                r"\tilde{Q}_i = \operatorname{mean}_{t \in S_i} q_t, \quad \tilde{K}_i = \operatorname{mean}_{t \in "
                r"S_i} k_t"
            ),
            "$S_i$ is segment $i$ of $m$",
        ),
        Equation("core", r"A = \operatorname{softmax}\left(\frac{\tilde{Q} \tilde{K}^\top}{\sqrt{D}}\right)"),
        Equation(
            "inverse",
            (
                r"Z \leftarrow \frac{1}{4} Z \left(13 I - A Z \left(15 I - A Z \left(7 I - A Z\right)\right)\right), "
                r"\quad Z_0 = \frac{A^\top}{\lVert A \rVert_1 \lVert A \rVert_\infty}"
            ),
            "towards the pseudo-inverse $A^+$",
        ),
        Equation(
            "output",
            (
                r"O = \operatorname{softmax}\left(\frac{Q \tilde{K}^\top}{\sqrt{D}}\right) A^+ "
                r"\operatorname{softmax}\left(\frac{\tilde{Q} K^\top}{\sqrt{D}}\right) V + \operatorname{conv}(V)"
            ),
        ),
    ),
    cost="O(N·m·D + m³)",
    operations=operations,
    options=Options,
    variants=(Options(landmarks=8), Options(landmarks=24, iterations=3, conv_kernel=0)),
    params=params,
    check=check,
    differs=(
        "Segment i of m covers tokens ⌊i·n/m⌋ … ⌊(i+1)·n/m⌋ − 1 of an example's true length n. The authors cut the "
        "padded length and count padding in the means. Their landmarks of padding alone take part; here they are "
        "masked. The norms of Z₀ belong to one example and head. The authors take one maximum over the batch, so "
        "their examples depend on one another. With as many landmarks as padded tokens the authors take exact "
        "softmax; here the iteration still runs. The convolution has one filter a head without bias, as theirs. It "
        "is computed as products with banded matrices."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(landmarks=64, iterations=20, conv_kernel=0),
            lengths=(1, 33, 64),
            tolerance=1e-5,
            why="as many landmarks as tokens, and 20 iterations",
        ),
    ),
)
