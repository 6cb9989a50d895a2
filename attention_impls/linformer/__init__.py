"""Linformer: attention to a fixed number of learned mixtures of the keys, and of the values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from attention_impls.base import Arrays, Attention, Count, Dims
from attention_impls.citation import Citation
from attention_impls.equation import Equation

KEYS, VALUES = "key_projection.weight", "value_projection.weight"
"""E and F of the paper, (rank, max_length); F is E where they are shared."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Linformer."""

    rank: Count = 256
    """Number of mixtures of keys and of values, k in the paper."""
    share_projections: bool = True
    """Use the same weights for values and keys, F = E."""


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """Uniform, Xavier's bound over √2, as in the authors' code."""
    names = (KEYS,) if options.share_projections else (KEYS, VALUES)
    bound = math.sqrt(3 / (options.rank + dims.max_length))
    return {name: rng.uniform(-bound, bound, (options.rank, dims.max_length)) for name in names}


def operations(options: Options, dims: Dims, length: int) -> int:
    """E k, F v, q (E k)ᵀ and its product with F v."""
    return 4 * dims.heads * dims.head_dim * options.rank * length


CARD = Attention(
    title="Linformer",
    year=2020,
    paper=Citation(
        authors="Sinong Wang, Belinda Z. Li, Madian Khabsa, Han Fang, Hao Ma",
        title="Linformer: Self-Attention with Linear Complexity",
        year=2020,
        arxiv="2006.04768",
    ),
    equations=(
        Equation(
            "mix",
            r"\tilde{K} = E K, \quad \tilde{V} = F V",
            "$E$ and $F$ are learned, ($k$, $N$), shared by the heads; $E = F$ by default",
        ),
        Equation(
            "output",
            r"O = \operatorname{softmax}\left(\frac{Q \tilde{K}^\top}{\sqrt{D}}\right) \tilde{V}",
            "equation 7 of the paper",
        ),
    ),
    cost="O(N·k·D)",
    operations=operations,
    options=Options,
    variants=(Options(rank=16), Options(rank=16, share_projections=False)),
    params=params,
    differs=(
        "E has max_length columns; an example of n tokens uses the first n. Padding adds nothing, where other suites "
        "let padded keys and values in. The softmax needs no mask: each of its k columns is a mixture of real "
        "tokens. Each layer has its own E, where other suites share one."
    ),
)
