"""Scaled dot-product attention, the baseline that every other mechanism is measured against."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.local_conv import optional_params


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of softmax attention."""

    local_conv: bool = False
    """Add a depthwise convolution of V, kernel 3, for a fair comparison with mechanisms that have one."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """q kᵀ and its product with v."""
    return 2 * dims.heads * dims.head_dim * length**2


CARD = Attention(
    title="Softmax",
    year=2017,
    paper=Citation(
        # arXiv has Lukasz; the page of the proceedings writes "Attention is All you Need".
        authors=(
            "Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Łukasz "
            "Kaiser, Illia Polosukhin"
        ),
        title="Attention Is All You Need",
        venue="NeurIPS",
        year=2017,
        arxiv="1706.03762",
    ),
    equations=(
        Equation(
            "output",
            r"O = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V",
            "keys restricted to real tokens",
        ),
    ),
    cost="O(N²·D)",
    operations=operations,
    options=Options,
    variants=(Options(), Options(local_conv=True)),
    quadratic=True,
    memory=lambda options, dims, length: dims.heads * length**2,
    params=optional_params,
    differs="No attention dropout, as for every mechanism here: fused kernels lose their speed with it.",
)
