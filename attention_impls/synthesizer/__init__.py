"""Synthesizer: attention weights that are learned or computed from single tokens, not from pairs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

ALPHA = "alpha"
BIAS_STD = 1e-6


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of the Synthesizer."""

    kind: Literal["random", "factorised-random", "dense", "factorised-dense"] = "random"
    """The logits: a learned matrix, a product of two thin ones, an MLP of each query, or a product of two MLPs."""
    dot_product: bool = True
    """Mix the logits with Q Kᵀ / √D in a learned proportion."""
    rank: Count = 32
    """Columns of the two thin matrices; in factorised-dense, the length of the first output, which is repeated."""


def inputs(options: Options) -> tuple[str, ...]:
    """The inputs: random kinds do not need queries, and only the dot product needs keys."""
    if options.dot_product:
        return ("q", "k", "v")
    return ("v",) if options.kind.endswith("random") else ("q", "v")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Arrays for max_length rows and columns, Xavier uniform in each head; biases and alpha close to zero."""
    heads, depth, most, rank = dims.heads, dims.head_dim, dims.max_length, options.rank

    def matrix(rows: int, columns: int) -> np.ndarray:
        bound = math.sqrt(6 / (rows + columns))
        return rng.uniform(-bound, bound, (heads, rows, columns))

    def layer(name: str, outputs: int) -> Arrays:
        return {f"{name}.weight": matrix(depth, outputs), f"{name}.bias": rng.normal(0, BIAS_STD, (heads, outputs))}

    made = {
        "random": lambda: {"random": matrix(most, most)},
        "factorised-random": lambda: {"left": matrix(most, rank), "right": matrix(most, rank)},
        "dense": lambda: layer("dense", most),
        "factorised-dense": lambda: layer("repeated", rank) | layer("stretched", -(-most // rank)),
    }[options.kind]()
    return made | ({ALPHA: rng.normal(0, BIAS_STD, 1)} if options.dot_product else {})


def operations(options: Options, dims: Dims, length: int) -> int:
    """The logits, and the weights' product with v."""
    depth, pairs = dims.head_dim, length**2
    logits = {
        "random": 0,
        "factorised-random": options.rank * pairs,
        "dense": depth * pairs,
        "factorised-dense": depth * length * (options.rank + -(-length // options.rank)),
    }[options.kind]
    return dims.heads * (logits + depth * pairs * (2 if options.dot_product else 1))


CARD = Attention(
    title="Synthesizer",
    year=2020,
    paper=Citation(
        # arXiv has "in Transformer Models".
        authors="Yi Tay, Dara Bahri, Donald Metzler, Da-Cheng Juan, Zhe Zhao, Che Zheng",
        title="Synthesizer: Rethinking Self-Attention for Transformer Models",
        venue="ICML",
        year=2021,
        arxiv="2005.00743",
    ),
    equations=(
        Equation("random", "S = R"),
        Equation("factorised-random", r"S = R_1 R_2^\top"),
        Equation("dense", r"S_{ij} = W_j \cdot \operatorname{ReLU}(q_i) + b_j"),
        Equation(
            "factorised-dense",
            r"S_{ij} = A_{i, j \bmod a} \, B_{i, \lfloor j / a \rfloor}",
            "$A$ and $B$ as in dense, $a$ is the rank",
        ),
        Equation(
            "mix",
            r"S \leftarrow \sigma(\alpha) S + (1 - \sigma(\alpha)) \frac{Q K^\top}{\sqrt{D}}",
            "with dot_product",
        ),
        Equation("output", r"O = \operatorname{softmax}(S) V", "over real keys"),
    ),
    cost="O(N²·D)",
    operations=operations,
    memory=lambda options, dims, length: dims.heads * length**2,
    options=Options,
    variants=(
        Options(),
        Options(kind="factorised-random", dot_product=False, rank=8),
        Options(kind="dense", dot_product=False),
        Options(kind="factorised-dense", rank=8),
    ),
    quadratic=True,
    inputs=inputs,
    params=params,
    differs=(
        "The encoder's query projection is the first layer of the dense kinds' MLP, as in the authors' Mesh "
        "TensorFlow code. The dot product shares it. Each head has its own second layer, as in the paper's "
        "equations; the code shares one. The shorter outputs of factorised-dense are tiled in opposite orders, so "
        "that every column is another pair. The mixture's alpha is the Mesh TensorFlow one; Long Range Arena's code "
        "only adds the logits. Parameters hold max_length rows and columns; a sequence uses those below its length."
    ),
)
