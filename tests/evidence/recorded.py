"""Queries, keys and values of an encoder that softmax has trained, and how far other outputs are from softmax's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from lra.model.batches import gatherers
from lra.model.blueprint import Blueprint
from lra.model.padding import WHOLE
from lra.model.weights import Weights
from tasks.base import Split

Arrays = dict[str, Any]


def some(split: Split, count: int) -> Split:
    """So many examples of a split, evenly spaced: some tasks have them sorted."""
    chosen = np.linspace(0, len(split) - 1, count).round().astype(int)
    return replace(split, examples=split.examples[chosen], labels=split.labels[chosen])


def recorded(blueprint: Blueprint, weights: Weights, split: Split, count: int) -> list[Arrays]:
    """Inputs by letter, lengths and softmax's output, as tensors, of each layer for the first examples of a split."""
    import torch

    from lra.backends.torch.encoder import Encoder
    from lra.backends.torch.step import batches

    encoder = Encoder(blueprint, "float32")
    encoder.load(weights, torch.device("cpu"))
    found: list[Arrays] = []
    blocks: list[Any] = list(encoder.layers)
    for layer in blocks:
        own = layer.attention.parts

        def spy(inputs: Arrays, lengths: Any, own: Any = own, **context: Any) -> Any:
            parts = own(inputs, lengths, **context)
            found.append({**inputs, "lengths": lengths, "out": parts.out})
            return parts

        layer.attention.parts = spy  # an attribute of this object only
    gather = gatherers({"train": some(split, count)}, count, 1, WHOLE)["train"]
    with torch.inference_mode():
        for batch in batches(next(gather.evaluation(count)), torch.device("cpu")):
            for group in batch.groups:
                encoder(group.tokens, group.lengths)
    return found


def output_errors(blueprint: Blueprint, layers: Sequence[Arrays]) -> list[float]:
    """|out − softmax's| / |softmax's|, Frobenius norms over examples, tokens and channels, layer by layer."""
    import torch

    from attention_impls.torch import Attention

    attention = Attention(blueprint.mechanism, **asdict(blueprint.dims), **asdict(blueprint.options), seed=0)
    found = []
    for given in layers:
        with torch.inference_mode():
            out = attention.parts({letter: given[letter] for letter in blueprint.inputs}, given["lengths"]).out
        found.append(_relative(out, given["out"]))
    return found


def mean_errors(layers: Sequence[Arrays]) -> list[float]:
    """The same of the mean of the values, which looks at no query and no key."""
    import torch

    found = []
    for given in layers:
        v, lengths = given["v"], given["lengths"]
        real = torch.ones(v.shape[:2]) if lengths is None else torch.arange(v.shape[1]) < lengths.flatten()[:, None]
        real = real[:, :, None, None].to(v.dtype)
        mean = (v * real).sum(1, keepdim=True) / real.sum(1, keepdim=True)
        found.append(_relative(mean * real, given["out"]))
    return found


def _relative(out: Any, exact: Any) -> float:
    return float((out - exact).norm() / exact.norm())
