"""The Synthesizer in PyTorch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.ops.torch_ops import real_tokens, zero_padding
from attention_impls.synthesizer import ALPHA, Options
from attention_impls.synthesizer import inputs as letters


def attend(
    *inputs: Float[Tensor, "B N H D"],
    lengths: Int[Tensor, " B"] | None,
    params: dict[str, Tensor],
    constants: dict[str, Tensor],
    options: Options,
    dims: Dims,
) -> Float[Tensor, "B N H D"]:
    given = dict(zip(letters(options), inputs, strict=True))
    v = given["v"]
    check_length(v.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, v.shape[1])
    scores = _synthetic(given.get("q"), params, options, v.shape[1])
    if options.dot_product:
        share = params[ALPHA].sigmoid()
        pairs = torch.einsum("bnhd,bmhd->bhnm", given["q"] / math.sqrt(dims.head_dim), given["k"])
        scores = share * scores + (1 - share) * pairs
    scores = scores.to(torch.promote_types(v.dtype, torch.float32))
    if real is not None:
        scores = scores.masked_fill(~real[:, None, None, :], torch.finfo(scores.dtype).min)
    weights, v = scores.softmax(-1).to(v.dtype), zero_padding(v, real)
    out = torch.einsum("hnm,bmhd->bnhd" if weights.ndim == 3 else "bhnm,bmhd->bnhd", weights, v)
    return zero_padding(out, real)


def _synthetic(
    q: Float[Tensor, "B N H D"] | None, params: dict[str, Tensor], options: Options, tokens: int
) -> Float[Tensor, "*B H N N"]:
    """Logits that no pair of tokens has made, without a batch axis where they depend on no token at all."""
    if options.kind == "random":
        return params["random"][:, :tokens, :tokens]
    if options.kind == "factorised-random":
        return params["left"][:, :tokens] @ params["right"][:, :tokens].mT
    assert q is not None
    hidden = q.relu().transpose(1, 2)

    def layer(name: str, outputs: int) -> Float[Tensor, "B H N outputs"]:
        return hidden @ params[f"{name}.weight"][..., :outputs] + params[f"{name}.bias"][:, None, :outputs]

    if options.kind == "dense":
        return layer("dense", tokens)
    repeated, stretched = layer("repeated", options.rank), layer("stretched", -(-tokens // options.rank))
    return (stretched[..., None] * repeated[..., None, :]).flatten(-2)[..., :tokens]
