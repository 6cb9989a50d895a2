"""Agent attention: a few pooled queries gather the values, and every query reads what they have gathered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.ops.local_conv import local_conv_params

GATHER, READ = "gather_bias.table", "read_bias.table"
"""B₁ and B₂ of the paper as tables (H, agents, bias_positions)."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of agent attention."""

    agents: Count = 49
    """Segments that the sequence is cut into; the mean query of each is an agent."""
    bias_positions: Count = 49
    """Positions at which the two position biases are learned; between them they are interpolated."""
    local_conv: bool = True
    """Add a depthwise convolution of V, kernel 3."""


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Bias tables of standard deviation 0.02, as in the authors' code, and the convolution's arrays if it is on."""
    shape = (dims.heads, options.agents, options.bias_positions)
    tables = {name: rng.normal(scale=0.02, size=shape) for name in (GATHER, READ)}
    return tables | (local_conv_params(dims, rng) if options.local_conv else {})


def operations(options: Options, dims: Dims, length: int) -> int:
    """A kᵀ, its product with v, q Aᵀ, its product with what was gathered; both biases from their tables."""
    return 2 * dims.heads * length * options.agents * (2 * dims.head_dim + options.bias_positions)


CARD = Attention(
    title="Agent",
    year=2024,
    paper=Citation(
        # The first version at arXiv names six of them, without Pan and Wan.
        authors=("Dongchen Han, Tianzhu Ye, Yizeng Han, Zhuofan Xia, Siyuan Pan, Pengfei Wan, Shiji Song, Gao Huang"),
        title="Agent Attention: On the Integration of Softmax and Linear Attention",
        venue="ECCV",
        year=2024,
        arxiv="2312.08874",
    ),
    equations=(
        Equation("agents", r"A_i = \frac{1}{|S_i|} \sum_{t \in S_i} q_t", "$S_i$ is segment $i$ of $n$"),
        Equation("gather", r"G = \operatorname{softmax}\left(\frac{A K^\top}{\sqrt{D}} + B_1\right) V"),
        Equation(
            "read",
            r"O = \operatorname{softmax}\left(\frac{Q A^\top}{\sqrt{D}} + B_2\right) G + \operatorname{DWC}(V)",
            "DWC is a depthwise convolution of kernel 3",
        ),
    ),
    cost="O(N·n·(D + p))",
    operations=operations,
    options=Options,
    variants=(Options(agents=8, bias_positions=5), Options(agents=24, bias_positions=16, local_conv=False)),
    params=params,
    differs=(
        "The authors have images of one size; this form is for sequences. Agents are means over segments of the true "
        "length, ⌊i·L/n⌋ … ⌊(i+1)·L/n⌋ − 1. Segments do not overlap, and empty ones are masked. The convolution has "
        "one axis. The authors' bias of an agent is a 7 × 7 map, stretched over the image, and one number a row and "
        "a column. Here it is a row of p = 49 numbers. Linear interpolation stretches it over the example's true "
        "length: token t stands at (t + ½) p / L − ½. There is no class token, so its biases are left out."
    ),
)
