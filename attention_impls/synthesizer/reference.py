"""The Synthesizer in NumPy, float64, from Tay et al. 2020, section 3."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float

from attention_impls.base import Arrays, Layer
from attention_impls.ops.reference_ops import Example, Tokens, each_example, softmax
from attention_impls.synthesizer import ALPHA, Options
from attention_impls.synthesizer import inputs as letters


def attend(*inputs: Tokens, layer: Layer[Options]) -> Tokens:
    params, options, dims = layer.params, layer.options, layer.dims

    def attend_one(q: Example, k: Example, v: Example) -> Example:
        out = np.empty(v.shape)
        for h in range(dims.heads):
            scores = _synthetic(q[:, h], h, params, options)
            if options.dot_product:
                share = 1 / (1 + np.exp(-params[ALPHA][0]))
                scores = share * scores + (1 - share) * q[:, h] @ k[:, h].T / math.sqrt(dims.head_dim)  # eq. (mix)
            out[:, h] = softmax(scores, 1) @ v[:, h]  # eq. (output)
        return out

    given = dict(zip(letters(options), inputs, strict=True))
    v = given["v"]
    return each_example(given.get("q", v), given.get("k", v), v, layer.lengths, attend_one)


def _synthetic(q: Float[np.ndarray, "n D"], h: int, params: Arrays, options: Options) -> Float[np.ndarray, "n n"]:
    """The logits of head h: a row for each query, a column for each key."""
    n = len(q)

    def output(name: str) -> np.ndarray:
        return np.maximum(q, 0) @ params[f"{name}.weight"][h] + params[f"{name}.bias"][h]

    if options.kind == "random":
        return params["random"][h, :n, :n]  # eq. (random)
    if options.kind == "factorised-random":
        return (params["left"][h] @ params["right"][h].T)[:n, :n]  # eq. (factorised-random)
    if options.kind == "dense":
        return output("dense")[:, :n]  # eq. (dense)
    repeated, stretched = output("repeated"), output("stretched")
    columns = [repeated[:, j % options.rank] * stretched[:, j // options.rank] for j in range(n)]
    return np.stack(columns, 1)  # eq. (factorised-dense)
