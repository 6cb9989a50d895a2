"""Linear attention: the softmax kernel replaced by a product of positive features, elu + 1."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.local_conv import optional_params

EPSILON = 1e-6
"""Added to the denominator, as in the authors' library."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of linear attention."""

    local_conv: bool = False
    """Add a depthwise convolution of V, kernel 3, for a fair comparison with mechanisms that have one."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """φ(k)ᵀ v, φ(q) times it, and φ(q) times Σ φ(k)."""
    return dims.heads * length * dims.head_dim * (2 * dims.head_dim + 1)


CARD = Attention(
    title="Linear",
    year=2020,
    paper=Citation(
        authors="Angelos Katharopoulos, Apoorv Vyas, Nikolaos Pappas, François Fleuret",
        title="Transformers are RNNs: Fast Autoregressive Transformers with Linear Attention",
        venue="ICML",
        year=2020,
        arxiv="2006.16236",
        pages="5156–5165",
    ),
    equations=(
        Equation("features", r"\varphi(x) = \operatorname{elu}(x) + 1"),
        Equation(
            "output",
            (
                r"O_i = \frac{\varphi(q_i) \sum_j \varphi(k_j)^\top v_j}{\varphi(q_i) \cdot \sum_j \varphi(k_j) + "
                r"\varepsilon}"
            ),
            r"$j$ over real tokens, $\varepsilon = 10^{-6}$",
        ),
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(), Options(local_conv=True)),
    params=optional_params,
    differs=("None known. The form without causality, ε and the missing scale of Q are those of the authors' library."),
)
