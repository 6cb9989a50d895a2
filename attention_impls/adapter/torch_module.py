"""A torch.nn.Module of (q, k, v, mask) as a pure function of its parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attention_impls.adapter import check_output, construct
from attention_impls.base import Arrays, Dims, check_length
from attention_impls.ops.torch_ops import real_tokens, zero_padding


def arrays(module_class: type[nn.Module], options: Any, dims: Dims, seed: int) -> tuple[Arrays, Arrays]:
    """Parameters and buffers as the module draws them under this seed; PyTorch's own generator is left as it was."""
    module = _make(module_class, options, dims, seed)
    return (
        {name: each.detach().double().numpy() for name, each in module.named_parameters()},
        {name: each.double().numpy() for name, each in module.named_buffers()},
    )


@functools.cache
def attend_with(module_class: type[nn.Module]) -> Callable[..., Tensor]:
    """The `attend` that calls the module with the arrays it is given."""

    def attend(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        *,
        lengths: Tensor | None,
        params: dict[str, Tensor],
        constants: dict[str, Tensor],
        options: Any,
        dims: Dims,
    ) -> Tensor:
        check_length(q.shape[1], dims)
        module = _skeleton(module_class, options, dims)
        buffers = {
            name: constants[name] if buffer.is_floating_point() else constants[name].to(buffer.dtype)
            for name, buffer in module.named_buffers()
        }
        real = None if lengths is None else real_tokens(lengths, q.shape[1])
        out = functional_call(module, params | buffers, (q, k, v, real))
        check_output(tuple(out.shape), tuple(v.shape))
        return zero_padding(out, real)

    return attend


@functools.cache
def _skeleton(module_class: type[nn.Module], options: Any, dims: Dims) -> nn.Module:
    """A module whose own numbers are never used."""
    return _make(module_class, options, dims, 0)


def _make(module_class: type[nn.Module], options: Any, dims: Dims, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return construct(module_class, dims=dims, options=options).eval()
