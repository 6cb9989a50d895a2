"""A softmax that also tells what it was divided by, in PyTorch: fewer passes over memory than exp and logsumexp."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def softmax_parts(
    x: Float[Tensor, "*rows M"],
) -> tuple[Float[Tensor, "*rows M"], Float[Tensor, "*rows 1"], Float[Tensor, "*rows 1"]]:
    """softmax(x), log Σ exp(x) and max x of each row; equal maxima share a gradient evenly."""
    shares, log_sum, top = _SoftmaxParts.apply(x)
    return shares, log_sum, top


class _SoftmaxParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        shares, top = x.softmax(-1), x.amax(-1, keepdim=True)
        most = shares.amax(-1, keepdim=True)
        ctx.save_for_backward(shares, most)
        ctx.set_materialize_grads(False)
        return shares, top - most.log(), top

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        shares, most = ctx.saved_tensors
        of_shares, of_log_sum, of_top = gradients
        found = torch.zeros_like(shares) if of_shares is None else _backward(of_shares, shares)
        if of_log_sum is not None:
            found.addcmul_(shares, of_log_sum)
        if of_top is not None:
            ties = torch.eq(shares, most, out=torch.empty_like(shares))  # as numbers, in one pass
            found.addcmul_(ties, of_top / ties.sum(-1, keepdim=True))
        return found


def _backward(gradient: Tensor, shares: Tensor) -> Tensor:
    """The gradient of a softmax over the last axis, in one pass."""
    return torch.ops.aten._softmax_backward_data(gradient, shares, -1, shares.dtype)
