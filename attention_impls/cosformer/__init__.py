"""cosFormer: linear attention with ReLU features and a cosine of the distance between two tokens."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims

EPSILON = 1e-6
"""Smallest denominator, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """cosFormer has no options."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """The products of linear attention with features of width 2D."""
    return dims.heads * length * 2 * dims.head_dim * (2 * dims.head_dim + 1)


CARD = Attention(
    title="cosFormer",
    year=2022,
    paper="Qin et al., cosFormer: Rethinking Softmax in Attention, ICLR 2022, arXiv 2202.08791",
    equations=(
        "O_i = Σ_j s_ij v_j / max(Σ_j s_ij, 1e-6), s_ij = ReLU(q_i)·ReLU(k_j) cos(π/2 · (i − j)/M), j over real "
        "tokens, M the example's length; as cos(a − b) = cos a cos b + sin a sin b, features of width 2D"
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(),),
    differs=(
        "M, which the paper wants to be at least the length, is the length of each example without padding; the "
        "authors take the padded length of the batch, so that padding changes the output. max_length would do as "
        "well, but nearly flatten the cosine for short examples."
    ),
)
