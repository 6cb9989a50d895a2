"""Longformer: a sliding window, and a few global tokens that see and are seen everywhere."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from annotated_types import Interval

from attention_impls.base import Arrays, Attention, CountOrNone, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation

QUERY, KEY, VALUE = "global_query", "global_key", "global_value"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of Longformer attention."""

    window: Annotated[int, Interval(ge=2, le=65_536)] = 64
    """Width of the window, half of it on each side; an even number."""
    global_tokens: CountOrNone = 1
    """The number of global tokens, the first ones; 0: the window alone."""


def check(options: Options, dims: Dims) -> None:
    """Raise ValueError for an odd window."""
    if options.window % 2:
        raise ValueError(f"window is {options.window}, expected an even number")


def params(options: Options, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The global tokens' own projections of x, weights (C, H·D) and biases, uniform within ±1/√C as the encoder's.

    The keys have no bias: softmax over the keys of one query would not see it.
    """
    if options.global_tokens == 0:
        return {}
    bound, features = 1 / math.sqrt(dims.width), dims.heads * dims.head_dim
    arrays = {f"{name}.weight": rng.uniform(-bound, bound, (dims.width, features)) for name in (QUERY, KEY, VALUE)}
    return arrays | {f"{name}.bias": rng.uniform(-bound, bound, features) for name in (QUERY, VALUE)}


def operations(options: Options, dims: Dims, length: int) -> int:
    """Each block of w/2 queries with three blocks of keys and the global ones; the global rows; their projections."""
    features, few = dims.heads * dims.head_dim, min(options.global_tokens, length)
    block = min(options.window // 2, length)
    rows = -(-length // block) * block
    projections = dims.width * features * (few + 2 * length) if few else 0
    return 2 * features * (rows * (3 * block + few) + few * length) + projections


CARD = Attention(
    title="Longformer",
    year=2020,
    paper=Citation(
        authors="Iz Beltagy, Matthew E. Peters, Arman Cohan",
        title="Longformer: The Long-Document Transformer",
        year=2020,
        arxiv="2004.05150",
    ),
    equations=(
        Equation(
            "seen",
            r"S_i = \{j : |i - j| \le w / 2\} \cup \{j : j < g\}",
            "the tokens that ordinary token $i$ sees",
        ),
        Equation(
            "ordinary",
            r"O_i = \operatorname{softmax}\left(\frac{q_i K_{S_i}^\top}{\sqrt{D}}\right) V_{S_i}",
            r"$i \ge g$",
        ),
        Equation(
            "global",
            r"O_i = \operatorname{softmax}\left(\frac{\hat{q}_i \hat{K}^\top}{\sqrt{D}}\right) \hat{V}",
            r"$i < g$, over every token; $\hat{Q}$, $\hat{K}$, $\hat{V}$ are projections of their own",
        ),
    ),
    cost="O(N·(w + g)·D), and O(N·C·D) for the global projections",
    operations=operations,
    options=Options,
    variants=(Options(window=8), Options(window=16, global_tokens=3)),
    inputs=("x", "q", "k", "v"),
    params=params,
    check=check,
    differs=(
        "A key that is global and inside the window counts once. The global projections start like the encoder's. "
        "The authors copy Q, K and V, but here is no pretrained model to copy. K_g has no bias, because softmax "
        "would cancel it. There is no dilation; the authors use it for language models only. LRA's code has a window "
        "of 512, no global token, and computes the full matrix."
    ),
    equals_softmax_when=(
        Equality(
            options=Options(window=64, global_tokens=0),
            lengths=(1, 32, 33),
            tolerance=1e-12,
            why=(
                "a window that covers every token, and no global token (one is softmax attention too, but with "
                "projections of its own)"
            ),
        ),
    ),
)
