"""A torch.nn.Module of (q, k, v, mask) as a pure function of its parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attention_impls.adapter import construct
from attention_impls.base import Arrays, Dims, Layer


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

    def attend(q: Tensor, k: Tensor, v: Tensor, layer: Layer[Any]) -> Tensor:
        module = _skeleton(module_class, layer.options, layer.dims)
        buffers = {
            name: layer.constants[name] if buffer.is_floating_point() else layer.constants[name].to(buffer.dtype)
            for name, buffer in module.named_buffers()
        }
        return functional_call(module, layer.params | buffers, (q, k, v, layer.real))

    attend.__module__ = module_class.__module__  # which errors name
    return attend


@functools.cache
def _skeleton(module_class: type[nn.Module], options: Any, dims: Dims) -> nn.Module:
    """A module whose own numbers are never used."""
    return _make(module_class, options, dims, 0)


def _make(module_class: type[nn.Module], options: Any, dims: Dims, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return construct(module_class, dims=dims, options=options).eval()
