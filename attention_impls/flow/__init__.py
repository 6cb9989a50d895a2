"""Flow attention (Flowformer): linear attention as a flow network whose sources compete and whose sinks allocate."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims

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
    paper="Wu et al., Flowformer: Linearizing Transformers with Conservation Flows, ICML 2022, arXiv 2202.06258",
    equations=(
        "I_i = φ(q_i)·Σ_j φ(k_j), O_j = φ(k_j)·Σ_i φ(q_i); Î_i = φ(q_i)·Σ_j φ(k_j)/O_j, Ô_j = φ(k_j)·Σ_i φ(q_i)/I_i; "
        "R_i = sigmoid(Î_i) φ(q_i)/I_i Σ_j φ(k_j)ᵀ v_j n softmax_j(Ô_j); φ = sigmoid, n real tokens, sums over them; "
        "1e-6 added to both factors of each flow"
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(),),
    differs=(
        "The paper's equations with φ = sigmoid, as in the authors' general module, which also clips Ô to ±1, although "
        "its mean is 1: about half of the sources would then compete on equal terms. Their release for this benchmark "
        "has φ = ReLU, and its softmax runs over the heads instead of the sources."
    ),
)
