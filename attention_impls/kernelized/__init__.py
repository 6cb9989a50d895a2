"""Kernelized attention: the Gaussian kernel in place of the softmax; what Skyformer approximates."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims


@dataclass(frozen=True, kw_only=True)
class Options:
    """Kernelized attention has no options."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """q kᵀ and the kernel's product with v."""
    return 2 * dims.heads * dims.head_dim * length**2


CARD = Attention(
    title="Kernelized",
    year=2021,
    paper="Chen et al., Skyformer: Remodel Self-Attention with Gaussian Kernel and Nyström Method, NeurIPS 2021, "
    "arXiv 2111.00035",
    equations="O = C V, C_ij = exp(−‖q_i − k_j‖² / (2 √D)), j over real tokens; rows are not normalised",
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
