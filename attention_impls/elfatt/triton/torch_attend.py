"""ELFATT as one PyTorch function whose forward and backward passes are Triton kernels."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from attention_impls.elfatt.triton import plan
from attention_impls.elfatt.triton.plan import STATISTICS, Arrays, Sizes, Step


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


def launch(step: Step, arrays: Arrays) -> None:
    """Start a kernel; the one place where any is."""
    step.kernel[step.grid](**arrays, **step.numbers, **step.constants, num_warps=step.warps)


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
        batch, tokens, heads, head_dim = q.shape
        sizes = Sizes(
            batch=batch,
            tokens=tokens,
            heads=heads,
            head_dim=head_dim,
            itemsize=q.element_size(),
            split=global_heads,
            block=min(block_size, tokens),
            strides=q.stride()[:3],
            ragged=lengths is not None,
            conv=weight is not None,
        )
        given = {"q": q, "k": k, "v": v, "lengths": lengths}
        given |= {name: x if x is None else x.contiguous() for name, x in (("weight", weight), ("bias", bias))}
        arrays: Arrays = {name: array for name, array in given.items() if array is not None}
        with torch.cuda.device_of(q):
            plan.forward(sizes, arrays, _perform)
        ctx.names = [name for name in (*given, *STATISTICS) if name in arrays and name != "bias"]
        ctx.save_for_backward(*(arrays[name] for name in ctx.names))
        ctx.sizes = sizes
        return arrays["out"]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        arrays: Arrays = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        arrays["gradient"] = grad_outputs[0].contiguous()
        with torch.cuda.device_of(arrays["q"]):
            taps = plan.backward(ctx.sizes, arrays, _perform)
        grads = (arrays["dq"], arrays["dk"], arrays["dv"])
        if not taps:
            return *grads, None, None, None, None, None
        found = torch.cat(taps)[..., : ctx.sizes.head_dim].to(arrays["weight"].dtype)
        return *grads, found[:, :3].mT.contiguous(), found[:, 3].contiguous(), None, None, None


def _perform(step: Step, arrays: Arrays) -> None:
    """Make room for what a step writes, and start it."""
    q = arrays["q"]
    for name, shape in step.writes.items():
        if shape is not None:
            arrays[name] = torch.empty(shape, dtype=torch.float32, device=q.device)
        elif name not in arrays:
            arrays[name] = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    launch(step, step.read(arrays) | {name: arrays[name] for name in step.writes})


def _alike(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors as they are where they have the same strides and features side by side; else contiguous ones.

    Kernels count in 32 bits from an example's first token to its last.
    """
    first = tensors[0]
    near = sum((size - 1) * stride for size, stride in zip(first.shape[1:], first.stride()[1:], strict=True)) < 2**31
    if near and first.stride(-1) == 1 and len({x.stride() for x in tensors}) == 1:
        return tensors
    return tuple(x.contiguous() for x in tensors)
