"""Linear attention: the softmax kernel replaced by a product of positive features, elu + 1."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Dims
from attention_impls.ops.local_conv import local_conv_params

EPSILON = 1e-6
"""Added to the denominator, as in the authors' library."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of linear attention."""

    local_conv: bool = False
    """Add a depthwise convolution of V, kernel 3: the control for mechanisms that have one."""


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The convolution's arrays, where it is on."""
    return local_conv_params(dims, rng) if options.local_conv else {}


def operations(options: Options, dims: Dims, length: int) -> int:
    """φ(k)ᵀ v, φ(q) times it, and φ(q) times Σ φ(k)."""
    return dims.heads * length * dims.head_dim * (2 * dims.head_dim + 1)


CARD = Attention(
    title="Linear",
    year=2020,
    paper="Katharopoulos et al., Transformers are RNNs, ICML 2020, arXiv 2006.16236",
    equations="O_i = φ(q_i) Σ_j φ(k_j)ᵀ v_j / (φ(q_i)·Σ_j φ(k_j) + ε), φ = elu + 1, ε = 1e-6, j over real tokens",
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(), Options(local_conv=True)),
    params=params,
    differs="None known: the non-causal form, ε and the missing scale of Q as in the authors' library.",
)
