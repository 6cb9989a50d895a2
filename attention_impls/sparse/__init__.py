"""Sparse Transformer attention: a token sees its neighbourhood and a column of tokens from the whole sequence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Interval

from attention_impls.base import Attention, Count, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the Sparse Transformer's attention."""

    pattern: Literal["fixed", "strided"] = "fixed"
    """fixed: a token sees its block and the end of every block. strided: a window, and every s-th token."""
    stride: Annotated[int, Interval(ge=2, le=65_536)] = 50
    """s: the tokens of a block, or the distance of columns in the strided pattern. The paper uses about √N."""
    summary: Count = 10
    """c: the number of tokens at the end of each block that every token sees, in the fixed pattern."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for a summary that is longer than a block."""
    if options.summary > options.stride:
        raise ValueError(f"summary is {options.summary}, expected 1 to the stride, which is {options.stride}")


def pairs(options: Options, length: int) -> int:
    """Scores that one head computes."""
    stride = options.stride
    blocks = -(-length // stride)
    if options.pattern == "fixed":
        return blocks * stride * (stride + blocks * options.summary)
    half = min(stride // 2, length)
    return -(-length // half) * half * 3 * half + stride * blocks**2


CARD = Attention(
    title="Sparse Transformer",
    year=2019,
    paper=Citation(
        authors="Rewon Child, Scott Gray, Alec Radford, Ilya Sutskever",
        title="Generating Long Sequences with Sparse Transformers",
        year=2019,
        arxiv="1904.10509",
    ),
    equations=(
        Equation(
            "fixed",
            r"S_i = \{j : \lfloor j / s \rfloor = \lfloor i / s \rfloor\} \cup \{j : j \bmod s \ge s - c\}",
            "what token $i$ sees in the fixed pattern",
        ),
        Equation(
            "strided",
            r"S_i = \{j : |i - j| \le \lfloor s / 2 \rfloor\} \cup \{j : (i - j) \bmod s = 0\}",
            "and in the strided one",
        ),
        Equation("output", r"O_i = \operatorname{softmax}\left(\frac{q_i K_{S_i}^\top}{\sqrt{D}}\right) V_{S_i}"),
    ),
    cost="O(N·(s + c·N/s)·D), which is O(N·√N·D) only where s grows as √N",
    operations=lambda options, dims, length: 2 * dims.heads * dims.head_dim * pairs(options, length),
    options=Options,
    memory=lambda options, dims, length: dims.heads * pairs(options, length),
    variants=(
        Options(stride=8, summary=2),
        Options(stride=8, summary=2, pattern="strided"),
        Options(stride=7, summary=3, pattern="strided"),
    ),
    quadratic=True,
    check=check,
    differs=(
        "Bidirectional, because the tasks classify whole sequences. The sets are the authors' without their j ≤ i, "
        "and the strided pattern's window of s tokens lies around i instead of before it. All heads see the union of "
        "both sets, as the paper's merged heads. LRA's runs take the fixed pattern with this s and c. LRA's code is "
        "causal, also opens the columns j mod s = 0, and masks the full matrix. Here only the pairs of the two sets "
        "are scored. With a fixed stride these are still a c/s (fixed) or 1/s (strided) part of all pairs."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(stride=64, summary=8),
            lengths=(1, 33, 64),
            tolerance=1e-12,
            why="fixed: one block covers every token",
        ),
        Equality(
            options=Options(stride=8, summary=8),
            lengths=(1, 37),
            tolerance=1e-12,
            why="fixed: a summary is the whole block",
        ),
        Equality(
            options=Options(stride=64, pattern="strided"),
            lengths=(1, 20, 33),
            tolerance=1e-12,
            why="strided: the window covers every token",
        ),
    ),
)
