"""Flow attention (Flowformer): linear attention as a flow network whose sources compete and whose sinks allocate."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

EPSILON = 1e-6
"""Added to both factors of a flow, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Flow attention has no options."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """φ(k)ᵀ v, φ(q) times it, and six products of a token's features with a number or a vector."""
    return dims.heads * length * dims.head_dim * (2 * dims.head_dim + 6)


CARD = Attention(
    title="Flow",
    year=2022,
    paper=Citation(
        authors="Haixu Wu, Jialong Wu, Jiehui Xu, Jianmin Wang, Mingsheng Long",
        title="Flowformer: Linearizing Transformers with Conservation Flows",
        venue="ICML",
        year=2022,
        arxiv="2202.06258",
        pages="24226–24242",
    ),
    equations=(
        Equation(
            "flow",
            r"I_i = \varphi(q_i) \cdot \sum_j \varphi(k_j), \quad O_j = \varphi(k_j) \cdot \sum_i \varphi(q_i)",
            (
                r"$\varphi$ is the sigmoid, sums run over the $n$ real tokens; $10^{-6}$ is added to both factors of "
                r"each flow"
            ),
        ),
        Equation(
            "conserved",
            (
                r"\hat{I}_i = \varphi(q_i) \cdot \sum_j \frac{\varphi(k_j)}{O_j}, \quad \hat{O}_j = \varphi(k_j) "
                r"\cdot \sum_i \frac{\varphi(q_i)}{I_i}"
            ),
        ),
        Equation(
            "output",
            (
                r"R_i = \operatorname{sigmoid}(\hat{I}_i) \frac{\varphi(q_i)}{I_i} \sum_j \varphi(k_j)^\top v_j \, n "
                r"\operatorname{softmax}_j(\hat{O}_j)"
            ),
        ),
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(),),
    differs=(
        "The paper's equations with φ = sigmoid, as in the authors' general module. That module also clips Ô to ±1. "
        "This is left out: Ô has a mean of 1, so about half of the sources would compete on equal terms. The "
        "authors' release for this benchmark has φ = ReLU, and its softmax runs over the heads instead of the "
        "sources."
    ),
)
