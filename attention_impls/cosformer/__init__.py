"""cosFormer: linear attention with ReLU features and a cosine of the distance between two tokens."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

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
    paper=Citation(
        # OpenReview writes "In Attention".
        authors=(
            "Zhen Qin, Weixuan Sun, Hui Deng, Dongxu Li, Yunshen Wei, Baohong Lv, Junjie Yan, Lingpeng Kong, "
            "Yiran Zhong"
        ),
        title="cosFormer: Rethinking Softmax in Attention",
        venue="ICLR",
        year=2022,
        arxiv="2202.08791",
    ),
    equations=(
        Equation(
            "similarity",
            (
                r"s_{ij} = \operatorname{ReLU}(q_i) \cdot \operatorname{ReLU}(k_j) \cos\left(\frac{\pi}{2} \cdot "
                r"\frac{i - j}{M}\right)"
            ),
            (
                r"$M$ is the example's length; as $\cos(a - b) = \cos a \cos b + \sin a \sin b$, a product of "
                r"features of width $2D$"
            ),
        ),
        Equation("output", r"O_i = \frac{\sum_j s_{ij} v_j}{\max(\sum_j s_{ij}, 10^{-6})}", "$j$ over real tokens"),
    ),
    cost="O(N·D²)",
    operations=operations,
    options=Options,
    variants=(Options(),),
    differs=(
        "M is the length of each example without padding. The paper asks for at least the length. The authors take "
        "the padded length of the batch, so their output depends on padding. M = max_length would be possible, but "
        "its cosine is nearly flat for short examples."
    ),
)
