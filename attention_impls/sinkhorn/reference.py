"""Sinkhorn attention in NumPy, float64, one head and one block at a time: Tay et al. 2020, section 3."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from attention_impls.base import Layer
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax
from attention_impls.sinkhorn import Options

Blocks = Float[np.ndarray, "n b D"]


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out, size = np.empty(v.shape), min(layer.options.block_size, len(v))
        for h in range(layer.dims.heads):
            keys, values = (_blocks(x[:, h], size) for x in (k, v))
            order = _order(keys, layer.params["sort.weight"][h], layer.options)
            sorted_keys, sorted_values = (np.tensordot(order, x, 1) for x in (keys, values))  # eq. (sort)
            for i in range(len(keys)):
                rows = slice(i * size, (i + 1) * size)
                seen = np.concatenate([k[rows, h], sorted_keys[i]])
                scores = q[rows, h] @ seen.T / math.sqrt(layer.dims.head_dim)
                out[rows, h] = softmax(scores, 1) @ np.concatenate([v[rows, h], sorted_values[i]])  # eq. (output)
        return out

    return each_example(q, k, v, layer.lengths, attend_one)


def _blocks(x: Float[np.ndarray, "N D"], size: int) -> Blocks:
    """The blocks of one head, with zero vectors for the tokens that the last one lacks."""
    blocks = np.zeros((-(-len(x) // size), size, x.shape[1]))
    blocks.reshape(-1, x.shape[1])[: len(x)] = x
    return blocks


def _order(keys: Blocks, weight: Float[np.ndarray, "D m"], options: Options) -> Float[np.ndarray, "n n"]:
    """The sorting matrix: exp of the network's logits, rows and then columns divided by their sums, in turn."""
    logits = keys.sum(1) @ weight[:, : len(keys)] / options.temperature  # eq. (logits)
    order = np.exp(logits - logits.max())
    for _ in range(options.iterations):
        order = order / order.sum(1, keepdims=True)
        order = order / order.sum(0, keepdims=True)
    return order
