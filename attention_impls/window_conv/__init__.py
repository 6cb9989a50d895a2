"""Window convolution: every channel is convolved with a short kernel, so a token sees only a bounded window."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.gated import OUTPUT, gated_operations, gated_params
from attention_impls.ops.token_conv import check_kernel, token_conv_operations, token_conv_params

BIAS = "conv.bias"
BLOCK = 32  # tokens of one banded product


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the window convolution."""

    conv_kernel: Count = 61
    """Taps of each channel's kernel, an odd number, half of them on each side."""
    glu: bool = True
    """Mix the channels by a gated linear unit after the convolution."""


def channels(dims: Dims) -> Dims:
    """Every channel is a head of one feature, since each has its own filter."""
    return Dims(heads=dims.width, head_dim=1, width=dims.width, max_length=dims.max_length)


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for an even kernel."""
    check_kernel(options.conv_kernel)


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Filters (C, kernel), a bias (C) likewise, and the gated unit's arrays."""
    bound = 1 / np.sqrt(options.conv_kernel)
    conv = token_conv_params(options.conv_kernel, channels(dims), rng)
    return conv | {BIAS: rng.uniform(-bound, bound, dims.width)} | gated_params(options, dims, rng)


def operations(options: Options, dims: Dims, length: int) -> int:
    """The convolution as banded products, and the gated unit."""
    conv = token_conv_operations(options.conv_kernel, channels(dims), length, BLOCK)
    return conv + gated_operations(options, dims, length)


CARD = Attention(
    title="Window convolution",
    year=2025,
    paper=Citation(
        authors="Pablo Miralles-González, Javier Huertas-Tato, Alejandro Martín, David Camacho",
        title="On the locality bias and results in the Long Range Arena",
        year=2025,
        arxiv="2501.14850",
    ),
    equations=(
        Equation(
            "conv",
            r"y_i = b + \sum_{s=0}^{k-1} w_s \odot x_{i + s - (k-1)/2}",
            "zeros beyond the ends; a kernel of $k$ taps for each channel",
        ),
        OUTPUT,
    ),
    cost="O(N·(k + D))",
    operations=operations,
    options=Options,
    variants=(Options(), Options(conv_kernel=5, glu=False)),
    measured=(Options(),),
    inputs=("x",),
    params=params,
    check=check,
    differs=(
        "A control, not a method: what it reaches on a task needs no token outside its layers' windows. The paper "
        "bounds the kernels of its own convolution model to 61 or 5 taps. This is the block of the long convolutions "
        "here, with such a kernel and with their gated unit. The encoder's output projection follows."
    ),
)
