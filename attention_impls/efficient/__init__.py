"""Efficient attention: softmax over the features of Q and over the tokens of K, then two thin products."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.local_conv import optional_params


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of efficient attention."""

    local_conv: bool = False
    """Add a depthwise convolution of V, kernel 3, for a fair comparison with mechanisms that have one."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """φ(k)ᵀ v and φ(q) times it."""
    return 2 * dims.heads * length * dims.head_dim**2


CARD = Attention(
    title="Efficient",
    year=2018,
    paper=Citation(
        authors="Zhuoran Shen, Mingyuan Zhang, Haiyu Zhao, Shuai Yi, Hongsheng Li",
        title="Efficient Attention: Attention with Linear Complexities",
        venue="WACV",
        year=2021,
        arxiv="1812.01243",
        pages="3531–3539",
    ),
    equations=(
        Equation(
            "output",
            (
                r"O = \operatorname{softmax}_{\text{features}}(Q) "
                r"\left(\operatorname{softmax}_{\text{tokens}}(K)^\top V\right)"
            ),
        ),
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(), Options(local_conv=True)),
    params=optional_params,
    differs="Attention alone: the encoder has the module's reprojection and residual.",
)
