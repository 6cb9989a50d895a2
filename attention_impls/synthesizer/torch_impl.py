"""The Synthesizer in PyTorch."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.torch_ops import Tokens
from attention_impls.synthesizer import ALPHA, Options
from attention_impls.synthesizer import inputs as letters


def attend(*inputs: Tokens, layer: Layer[Options]) -> Tokens:
    given = dict(zip(letters(layer.options), inputs, strict=True))
    v = given["v"]
    scores = _synthetic(given.get("q"), layer.params, layer.options, v.shape[1])
    if layer.options.dot_product:
        share = layer.params[ALPHA].sigmoid()
        pairs = torch.einsum("bnhd,bmhd->bhnm", given["q"] / math.sqrt(layer.dims.head_dim), given["k"])
        scores = share * scores + (1 - share) * pairs  # eq. (mix)
    scores = scores.to(torch.promote_types(v.dtype, torch.float32))
    if layer.real is not None:
        scores = scores.masked_fill(~layer.real[:, None, None, :], torch.finfo(scores.dtype).min)
    weights = scores.softmax(-1).to(v.dtype)  # eq. (output)
    return torch.einsum("hnm,bmhd->bnhd" if weights.ndim == 3 else "bhnm,bmhd->bnhd", weights, v)


def _synthetic(q: Tokens | None, params: dict[str, Tensor], options: Options, tokens: int) -> Float[Tensor, "*B H N N"]:
    """Logits that no pair of tokens has made, without a batch axis where they depend on no token at all."""
    if options.kind == "random":
        return params["random"][:, :tokens, :tokens]  # eq. (random)
    if options.kind == "factorised-random":
        return params["left"][:, :tokens] @ params["right"][:, :tokens].mT  # eq. (factorised-random)
    assert q is not None
    hidden = q.relu().transpose(1, 2)

    def layer(name: str, outputs: int) -> Float[Tensor, "B H N outputs"]:
        return hidden @ params[f"{name}.weight"][..., :outputs] + params[f"{name}.bias"][:, None, :outputs]

    if options.kind == "dense":
        return layer("dense", tokens)  # eq. (dense)
    repeated, stretched = layer("repeated", options.rank), layer("stretched", -(-tokens // options.rank))
    return (stretched[..., None] * repeated[..., None, :]).flatten(-2)[..., :tokens]  # eq. (factorised-dense)
