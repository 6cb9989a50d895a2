"""What `bench` times in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.model.blueprint import Blueprint
from lra.model.weights import Weights


class TorchClock:
    """The Clock of PyTorch; a mechanism runs as it does in eager mode."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def place(self, arrays: Weights, dtype: str) -> dict[str, Any]:
        return {name: self._placed(torch.tensor(array), getattr(torch, dtype)) for name, array in arrays.items()}

    def numpy(self, array: Tensor) -> np.ndarray:
        array = array.detach().cpu()
        return (array.double() if array.is_floating_point() else array).numpy()

    def attend(self, blueprint: Blueprint) -> Callable[..., tuple[Any, dict[str, Any]]]:
        mechanism = blueprint.mechanism
        attend = mechanism.attend("torch")

        def call(given: Any, params: Any, constants: Any, cotangent: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            wanted = {name: tensor.requires_grad_() for name, tensor in (given | params).items()}
            out = attend(
                *(given[letter] for letter in blueprint.inputs),
                lengths=None,
                params=params,
                constants=constants,
                options=blueprint.options,
                dims=blueprint.dims,
            )
            outs = [part for part in mechanism.card.parts(out)[:2] if part is not None]
            weights = (cotangent, *(torch.ones_like(penalty) for penalty in outs[1:]))
            grads = torch.autograd.grad(outs, list(wanted.values()), weights, allow_unused=True, materialize_grads=True)
            return outs[0].detach(), dict(zip(wanted, grads, strict=True))

        return call

    def product(self, left: Tensor, right: Tensor) -> Callable[[], Any]:
        out = torch.empty_like(left)
        return lambda: torch.mm(left, right, out=out)

    def copy(self, array: Tensor) -> Callable[[], Any]:
        out = torch.empty_like(array)
        return lambda: out.copy_(array)

    def wait(self, result: Any) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def release(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def restart_peak_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def peak_memory(self) -> int | None:
        return torch.cuda.max_memory_allocated(self._device) if self._device.type == "cuda" else None

    def _placed(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        return tensor.to(self._device, dtype if tensor.is_floating_point() else tensor.dtype)


def open_clock(device: Device) -> TorchClock:
    """The clock of that device; UserError where PyTorch does not see it."""
    if device == "gpu" and not torch.cuda.is_available():
        raise UserError("a GPU is to be timed, but PyTorch sees no CUDA device: use --device cpu")
    return TorchClock(torch.device("cuda" if device == "gpu" else "cpu"))
