"""Kernelized attention: a Gaussian kernel instead of the softmax. Skyformer approximates it."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.equation import Equation
from attention_impls.ops.gaussian import PAPER


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kernelized attention has no options."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """q kᵀ and the kernel's product with v."""
    return 2 * dims.heads * dims.head_dim * length**2


CARD = Attention(
    title="Kernelized",
    year=2021,
    paper=PAPER,
    equations=(
        Equation(
            "kernel",
            r"C_{ij} = \exp\left(-\frac{\lVert q_i - k_j \rVert^2}{2 \sqrt{D}}\right)",
            "$j$ over real tokens; rows are not normalised",
        ),
        Equation("output", "O = C V"),
    ),
    cost="O(N²·D)",
    operations=operations,
    options=Options,
    variants=(Options(),),
    quadratic=True,
    memory=lambda options, dims, length: dims.heads * length**2,
    differs=(
        "None known. The scale D^(−1/4) and the rows without normalisation are those of the authors' code. Its "
        "dropout of the weights is left out, as for every mechanism here."
    ),
)
