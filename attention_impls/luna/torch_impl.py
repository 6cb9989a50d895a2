"""Luna in PyTorch."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.luna import ASK, ASK_BIAS, EPSILON, SCALE, SHIFT, START, TELL, TELL_BIAS, Options
from attention_impls.ops.landmarks_torch import cross_attention
from attention_impls.ops.torch_ops import Tokens


def attend(q: Tokens, k: Tokens, layer: Layer[Options]) -> tuple[Tokens, Float[Tensor, "B l C"]]:
    params, wide = layer.params, torch.promote_types(q.dtype, torch.float32)
    p = layer.carry
    if p is None:
        p = (math.sqrt(layer.dims.width) * params[START].to(wide)).expand(len(q), -1, -1)  # eq. (start)
    scale, shift = params[SCALE].to(wide), params[SHIFT].to(wide)
    normed = F.layer_norm(p, p.shape[2:], scale, shift, EPSILON).to(q.dtype)
    ask = _heads(normed @ params[ASK] + params[ASK_BIAS], layer)
    packed = cross_attention(ask, k, k, layer.real).flatten(2)  # eq. (pack)
    told = _heads(packed @ params[TELL] + params[TELL_BIAS], layer)
    return cross_attention(q, told, told, None), p + packed  # eq. (unpack), (carry)


def _heads(p: Float[Tensor, "B l C"], layer: Layer[Options]) -> Float[Tensor, "B l H D"]:
    return p.unflatten(2, (layer.dims.heads, layer.dims.head_dim))
