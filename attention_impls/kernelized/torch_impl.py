"""Kernelized attention in PyTorch."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.kernelized import Options
from attention_impls.ops.gaussian_torch import gaussian_kernel


def attend(
    q: Float[Tensor, "B N H D"], k: Float[Tensor, "B N H D"], v: Float[Tensor, "B N H D"], layer: Layer[Options]
) -> Float[Tensor, "B N H D"]:
    out = gaussian_kernel(q, k).to(v.dtype) @ v.transpose(1, 2)
    return out.transpose(1, 2)
