"""Sizes, costs and rounding of the Fourier transforms that mechanisms take over the tokens.

A convolution with a kernel of both directions has one definition in two published conventions. With `after` for lags
0, 1, … and `before` for lags of later tokens,

    shifted:      y_i = Σ_{j ≤ i} after[i − j] x_j + Σ_{j > i} before[j − i − 1] x_j
    overlapping:  y_i = Σ_{j ≤ i} after[i − j] x_j + Σ_{j ≥ i} before[j − i] x_j

The first is that of S4, SGConv and long convolutions, the second that of Mega's moving average. Kernels depend on lags
alone, and x is zero at padding, so the padded length changes nothing but roundings.

An FFT of length M has a relative error of at most `e = 7 u log₂ M` in the 2-norm, where u is half of the dtype's
epsilon. The source is Higham, Accuracy and Stability of Numerical Algorithms, theorem 24.2. So each y_i of a
convolution with a kernel k and its spectrum K has an error of at most `e (2 ‖k‖₂ + max |K|) ‖x‖₂`.

A transform over an example's own n tokens is a convolution with a chirp, whose spectrum is at most 2.5 √n. So its
relative error is at most 10 e in the 2-norm. Three FFTs have 7.5 e, and the chirp's angles less than the rest.
"""

from __future__ import annotations

import math

from attention_impls.equation import Equation

ROUNDING = (
    "An FFT of length M makes results, and their change with the padded length, uncertain by 7 u log₂ M · (2 ‖k‖₂ + "
    "max |K|) ‖x‖₂. Here u is half of the dtype's epsilon, k the kernel and K its spectrum. The derivation is in "
    "attention_impls/ops/fourier.py."
)
RAGGED_ROUNDING = (
    "A transform over an example's own tokens takes FFTs of length M. Results, and their change with the padded "
    "length, are uncertain by 70 u log₂ M of their 2-norm, with u half of the dtype's epsilon. The derivation is in "
    "attention_impls/ops/fourier.py."
)
SMOOTH = (2, 3, 5)


TWO_SIDED = Equation(
    "conv",
    r"y_i = D x_i + \sum_{j \le i} K^{+}_{i-j} x_j + \sum_{j > i} K^{-}_{j-i-1} x_j",
)


def transform_length(least: int) -> int:
    """The smallest even number at least as large whose prime factors are 2, 3 and 5: FFTs of such lengths are fast."""
    length = max(2, least + least % 2)
    while not _smooth(length):
        length += 2
    return length


def _smooth(number: int) -> bool:
    for factor in SMOOTH:
        while number % factor == 0:
            number //= factor
    return number == 1


def piece(length: int) -> int:
    """Lags of one piece of a kernel, about √length: e^{(a + b)Δλ} is made of as many powers in a as in b."""
    return 1 << math.ceil(math.log2(max(length, 1)) / 2)


def transform_operations(length: int, count: int, *, real: bool) -> int:
    """Floating-point operations of so many FFTs: 5 N log₂ N each, half of that where one side is real."""
    return round((2.5 if real else 5) * length * math.log2(max(length, 1)) * count)


def conv_transforms(channels: int, tokens: int) -> int:
    """Operations of the transforms of a two-sided convolution: of the input, of the kernel, and of the result."""
    return 3 * kernel_transforms(channels, tokens)


def kernel_transforms(channels: int, tokens: int) -> int:
    """Those of them that are the kernel's, which a batch needs once."""
    return transform_operations(transform_length(2 * tokens), channels, real=True)


def ragged_transforms(channels: int, tokens: int) -> int:
    """Operations of the transforms behind `ragged_dft`: of the input and of the result, and one of the chirp."""
    return transform_operations(transform_length(2 * tokens), 2 * channels + 1, real=False)
