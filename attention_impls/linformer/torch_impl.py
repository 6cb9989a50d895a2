"""Linformer in PyTorch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.linformer import KEYS, VALUES, Options
from attention_impls.ops.landmarks_torch import cross_attention


def attend(
    q: Float[Tensor, "B N H D"], k: Float[Tensor, "B N H D"], v: Float[Tensor, "B N H D"], layer: Layer[Options]
) -> Float[Tensor, "B N H D"]:
    keys = _mix(layer.params[KEYS], k)
    values = _mix(layer.params[KEYS if layer.options.share_projections else VALUES], v)
    return cross_attention(q, keys, values, None)


def _mix(weight: Float[Tensor, "m max_length"], x: Float[Tensor, "B N H D"]) -> Float[Tensor, "B m H D"]:
    """Mixtures of the tokens: E K."""
    return (weight[:, : x.shape[1]] @ x.flatten(2)).unflatten(2, x.shape[2:])
