"""ELFATT as one PyTorch function whose forward and backward passes are Triton kernels."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_impls.elfatt.triton_launch import block_backward, block_forward, global_backward, global_forward


def attend_fused(
    q: Float[Tensor, "B N H D"],
    k: Float[Tensor, "B N H D"],
    v: Float[Tensor, "B N H D"],
    *,
    lengths: Int[Tensor, " B"] | None,
    conv: tuple[Float[Tensor, "H D 3"], Float[Tensor, "H D"]] | None,
    global_heads: int,
    block_size: int,
) -> Float[Tensor, "B N H D"]:
    """ELFATT in the 1d layout; the first `global_heads` heads are global, `conv` is the convolution's weight and bias.

    q, k and v may be views of one packed projection; the output is contiguous.
    """
    weight, bias = (None, None) if conv is None else conv
    return _Elfatt.apply(q, k, v, weight, bias, lengths, global_heads, block_size)


class _Elfatt(torch.autograd.Function):
    """Keeps q, k, v and the global heads' statistics, a D × D matrix a head, for the backward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        lengths: Tensor | None,
        global_heads: int,
        block_size: int,
    ) -> Tensor:
        q, k, v = _alike(q, k, v)
        out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
        whole, blocks = slice(None, global_heads), slice(global_heads, None)
        weight, bias = (None if x is None else x.contiguous() for x in (weight, bias))
        statistics: tuple[Tensor, ...] = ()
        with torch.cuda.device_of(q):
            if global_heads > 0:
                statistics = global_forward(_heads(whole, q, k, v, out), _own(whole, weight, bias), lengths)
            if global_heads < q.shape[2]:
                block_forward(_heads(blocks, q, k, v, out), _own(blocks, weight, bias), lengths, block_size)
        ctx.save_for_backward(q, k, v, weight, lengths, *statistics)
        ctx.global_heads, ctx.block_size = global_heads, block_size
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        q, k, v, weight, lengths, *statistics = ctx.saved_tensors
        dq, dk, dv = (torch.empty(q.shape, dtype=q.dtype, device=q.device) for _ in range(3))
        tensors = (q, k, v, grad_outputs[0].contiguous(), dq, dk, dv)
        whole, blocks = slice(None, ctx.global_heads), slice(ctx.global_heads, None)
        sums = []
        with torch.cuda.device_of(q):
            if ctx.global_heads > 0:
                sums.append(global_backward(_heads(whole, *tensors), _own(whole, weight)[0], lengths, statistics))
            if ctx.global_heads < q.shape[2]:
                own = _own(blocks, weight)[0]
                sums.append(block_backward(_heads(blocks, *tensors), own, lengths, ctx.block_size))
        if weight is None:
            return dq, dk, dv, None, None, None, None, None
        taps = torch.cat(sums)[..., : q.shape[-1]].to(weight.dtype)
        return dq, dk, dv, taps[:, :3].mT.contiguous(), taps[:, 3].contiguous(), None, None, None


def _heads(part: slice, *tensors: Tensor) -> list[Tensor]:
    """Some heads of tensors (B, N, H, D), as views."""
    return [x[:, :, part] for x in tensors]


def _own(part: slice, *arrays: Tensor | None) -> list[Tensor | None]:
    """Some heads of the convolution's arrays (H, …), as views; None stays None."""
    return [None if x is None else x[part] for x in arrays]


def _alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as they are where they have the same strides and features side by side; else contiguous ones.

    Kernels count in 32 bits from an example's first token to its last.
    """
    first = tensors[0]
    near = sum((size - 1) * stride for size, stride in zip(first.shape[1:], first.stride()[1:], strict=True)) < 2**31
    if near and first.stride(-1) == 1 and len({x.stride() for x in tensors}) == 1:
        return tensors
    return tuple(x.contiguous() for x in tensors)
