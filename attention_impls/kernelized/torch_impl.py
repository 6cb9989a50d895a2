"""Kernelized attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from attention_impls.base import Dims, check_length
from attention_impls.kernelized import Options
from attention_impls.ops.gaussian_torch import gaussian_kernel
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
    q, k, v = (zero_padding(x, real) for x in (q, k, v))
    out = gaussian_kernel(q, k).to(v.dtype) @ v.transpose(1, 2)
    return zero_padding(out.transpose(1, 2), real)
