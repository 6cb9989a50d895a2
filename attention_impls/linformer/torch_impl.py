"""Linformer in PyTorch."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.linformer import KEYS, VALUES, Options
from attention_impls.ops.landmarks_torch import cross_attention
from attention_impls.ops.torch_ops import real_tokens, zero_padding


def attend(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    *,
    lengths: Int[Tensor, " B"] | None,
    params: dict[str, Tensor],
    constants: dict[str, Tensor],
    options: Options,
    dims: Dims,
) -> Float[Tensor, "B N H D"]:
    check_length(q.shape[1], dims)
    real = None if lengths is None else real_tokens(lengths, q.shape[1])
    keys = _mix(params[KEYS], zero_padding(k, real))
    values = _mix(params[KEYS if options.share_projections else VALUES], zero_padding(v, real))
    return zero_padding(cross_attention(q, keys, values, None), real)


def _mix(weight: Float[Tensor, "m max_length"], x: Float[Tensor, "B N H D"]) -> Float[Tensor, "B m H D"]:
    """Mixtures of the tokens: E K."""
    return (weight[:, : x.shape[1]] @ x.flatten(2)).unflatten(2, x.shape[2:])
