"""Mega in PyTorch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.mega import (
    ALPHA,
    BASE,
    BETA,
    DELTA,
    GAMMA,
    GATED,
    MEAN,
    OFFSET,
    OMEGA,
    POSITIONS,
    SCALE,
    SPREAD,
    VALUE,
    Options,
    block,
    hidden,
    reach,
)
from attention_impls.ops.blocks_torch import from_blocks, real_blocks, to_blocks
from attention_impls.ops.fourier import piece
from attention_impls.ops.fourier_torch import two_sided_conv
from attention_impls.ops.torch_ops import Tokens


def attend(x: Float[Tensor, "B N C"], layer: Layer[Options]) -> Tokens:
    params, width = layer.params, layer.dims.width
    stream = x if layer.residual is None else layer.residual
    after, before = _kernels(params, x, reach(layer.options, x.shape[1]))
    moved = F.silu(two_sided_conv(x, after, before, overlap=True) + params[OMEGA] * x)  # eq. (moved)
    sizes = [width, layer.options.shared, hidden(layer.options, layer.dims), width]
    update, shared, reset, candidate = _dense(moved, BASE, layer).split(sizes, 2)
    value, shared, reset = F.silu(_dense(x, VALUE, layer)), F.silu(shared), F.silu(reset)  # eq. (base)
    query, key = (shared * params[SCALE][i] + params[OFFSET][i] for i in (0, 1))  # eq. (base)
    seen = _attention(query, key, value, layer)
    found = F.silu(candidate + _dense(seen * reset, GATED, layer))  # eq. (output)
    found = found if layer.drop is None else layer.drop(found)
    out = update.sigmoid() * (found - stream)  # eq. (output)
    return out.unflatten(2, (layer.dims.heads, layer.dims.head_dim))


def _kernels(params: dict[str, Tensor], x: Float[Tensor, "B N C"], lags: int) -> Float[Tensor, "2 C N"]:
    """Those of both directions, zeros behind the last lag. q^{jp + i} is a power in j times one in i."""
    wide, tokens = torch.promote_types(x.dtype, torch.float32), x.shape[1]
    alpha, delta, beta, gamma = (params[name].to(wide) for name in (ALPHA, DELTA, BETA, GAMMA))
    size = piece(lags)
    share = delta.sigmoid()
    kept = (-share * alpha.sigmoid()).log1p()[..., None]  # log q
    weight = gamma * share * beta / math.sqrt(gamma.shape[2])
    starts = weight[..., None] * (kept * (size * torch.arange(-(-lags // size), device=x.device))).exp()
    pieces = starts.mT @ (kept * torch.arange(size, device=x.device)).exp()
    return F.pad(pieces.flatten(2)[..., :lags], (0, tokens - lags))  # eq. (average)


def _attention(
    query: Float[Tensor, "B N s"], key: Float[Tensor, "B N s"], value: Float[Tensor, "B N h"], layer: Layer[Options]
) -> Float[Tensor, "B N h"]:
    tokens = query.shape[1]
    size = block(layer.options, tokens)
    real = real_blocks(layer.real, tokens, size, query.device)[:, :, None]
    query, key, value = (to_blocks(x, size) for x in (query, key, value))
    middle = len(layer.params[POSITIONS]) // 2
    near = layer.params[POSITIONS][middle - size + 1 : middle + size]
    bias = near.unfold(0, size, 1).flip(0)
    if layer.options.weights == "softmax":
        scores = query @ key.mT / math.sqrt(layer.options.shared) + bias
        weights = scores.masked_fill(~real, torch.finfo(scores.dtype).min).softmax(3)  # eq. (attention)
    else:
        scores = query @ key.mT / real.sum(3, keepdim=True).clamp(min=1) + bias
        weights = (0.5 + 0.5 * ((scores - MEAN) / (SPREAD * math.sqrt(2))).erf()) * real  # eq. (attention)
    return from_blocks(weights @ value, tokens)


def _dense(x: Float[Tensor, "B N inputs"], name: str, layer: Layer[Options]) -> Float[Tensor, "B N outputs"]:
    return x @ layer.params[f"{name}.weight"] + layer.params[f"{name}.bias"]
