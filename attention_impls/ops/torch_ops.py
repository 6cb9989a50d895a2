"""Shared pieces of the PyTorch implementations. Axis letters: attention_impls/base.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from attention_impls.base import Layer
from attention_impls.ops.local_conv import BIAS, WEIGHT

Tokens = Float[Tensor, "B N H D"]
Real = Bool[Tensor, "B N"]
"""True where a token is real."""
Lengths = Int[Tensor, " B"]
"""How many tokens of each example are real; they come first."""


def real_tokens(lengths: Lengths, tokens: int) -> Real:
    """True where a token is real."""
    return torch.arange(tokens, device=lengths.device) < lengths[:, None]


def zero_padding(x: Float[Tensor, "B N *rest"], real: Real | None) -> Float[Tensor, "B N *rest"]:
    """x with zeros at padded tokens, whatever was there; None says that there are none."""
    if real is None:
        return x
    if x.device.type == "cpu" and type(x) is Tensor and not torch.compiler.is_compiling():  # no shapes without numbers
        return _ZeroPadding.apply(x, real)
    return x.masked_fill(~real.view(*real.shape, *(1,) * (x.ndim - 2)), 0.0)


class _ZeroPadding(torch.autograd.Function):
    """Zeros behind each example's last token: on a CPU a copy and few writes are faster than a mask of all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, real: Tensor) -> Tensor:
        ctx.lengths = real.sum(1).tolist()
        return _cut_off(x, ctx.lengths)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None]:
        return _cut_off(gradients[0], ctx.lengths), None


def _cut_off(x: Tensor, lengths: Sequence[int]) -> Tensor:
    """A copy of x with zeros from each length on."""
    out = x.clone()
    for example, length in zip(out, lengths, strict=True):
        example[length:] = 0
    return out


def swapped(x: Float[Tensor, "B one two D"]) -> Float[Tensor, "B two one D"]:
    """A copy with axes 1 and 2 exchanged, and so is its gradient: passes over two layouts at once are slow on a CPU."""
    result: Tensor = _Swapped.apply(x)
    return result


class _Swapped(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.transpose(1, 2).clone(memory_format=torch.contiguous_format)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Tensor:
        return swapped(gradients[0])


def device_and_dtype(x: Tensor) -> tuple[str, str]:
    """The device, "cpu" or "cuda", and the dtype as NumPy spells it."""
    return x.device.type, str(x.dtype).removeprefix("torch.")


def softmax_attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None) -> Tokens:
    """softmax(q kᵀ / √D) v over real keys, by the framework's fused kernel. Rows of padded queries are not zeroed.

    Where no token is real the first key stays visible: a fused softmax over nothing would be NaN. Its value is zero if
    the caller has zeroed the padding of v.
    """
    mask = None
    if real is not None:
        visible = real | (torch.arange(real.shape[1], device=real.device) == 0)
        mask = visible[:, None, None, :]
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def efficient_attention(q: Tokens, k: Tokens, v: Tokens, real: Real | None) -> Tokens:
    """softmax over features(q) · (softmax over real tokens(k)ᵀ v): Shen et al. 2021.

    A finite fill keeps the softmax over no token at all finite. Rows of padded queries are not zeroed.
    """
    if real is not None:
        k = k.masked_fill(~real[:, :, None, None], torch.finfo(k.dtype).min)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    context = k.softmax(dim=2).mT @ v
    return (q.softmax(dim=3) @ context).transpose(1, 2)


def with_local_conv(out: Tokens, v: Tokens, layer: Layer[Any]) -> Tokens:
    """out + L(V), L a depthwise convolution of kernel 3, where `layer.options.local_conv` is on."""
    if not layer.options.local_conv:
        return out
    return out + depthwise_conv(v, layer.params[WEIGHT], layer.params[BIAS])


def depthwise_conv(
    v: Float[Tensor, "B *space H D"], weight: Float[Tensor, "H D *taps"], bias: Float[Tensor, "H D"]
) -> Float[Tensor, "B *space H D"]:
    """Convolution along each axis of `space`, every channel by itself, zeros beyond the ends; taps are odd.

    The tokens' layout, channels last, is one that library convolutions read as it is.
    """
    space, channels = v.shape[1:-2], v.shape[-2:].numel()
    image = v.reshape(len(v), *((1,) if len(space) == 1 else ()), *space, channels).movedim(-1, 1)
    kernel = weight.reshape(channels, 1, *((1,) if len(space) == 1 else ()), *weight.shape[2:])
    padding = [taps // 2 for taps in kernel.shape[2:]]
    out = F.conv2d(image, kernel, bias.flatten(), padding=padding, groups=channels)
    return out.movedim(1, -1).reshape(v.shape)
