"""Linformer in PyTorch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.linformer import KEYS, VALUES, Options
from attention_impls.ops.landmarks_torch import cross_attention
from attention_impls.ops.torch_ops import Tokens


def attend(q: Tokens, k: Tokens, v: Tokens, layer: Layer[Options]) -> Tokens:
    keys = _mix(layer.params[KEYS], k)  # eq. (mix)
    values = _mix(layer.params[KEYS if layer.options.share_projections else VALUES], v)  # eq. (mix)
    return cross_attention(q, keys, values, None)  # eq. (output)


def _mix(weight: Float[Tensor, "m max_length"], x: Tokens) -> Float[Tensor, "B m H D"]:
    """Mixtures of the tokens: E K."""
    return (weight[:, : x.shape[1]] @ x.flatten(2)).unflatten(2, x.shape[2:])
