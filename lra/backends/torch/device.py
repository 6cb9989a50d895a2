"""PyTorch's devices, and whether there are as many as are asked for."""

from __future__ import annotations

import torch

from lra.core.errors import UserError
from lra.core.frameworks import Device
from tasks import limits


def sees_gpu() -> bool:
    """Whether PyTorch's own choice is a GPU."""
    return torch.cuda.is_available()


def open_devices(device: Device | None, count: int) -> list[torch.device]:
    """`count` devices of the wanted kind, by default GPUs if there is one. UserError if PyTorch sees fewer.

    On a CPU a device is a process, and there may be more processes than cores.
    """
    if device == "gpu" and not sees_gpu():
        raise UserError("--device gpu was asked for, but PyTorch sees no CUDA device: use --device cpu")
    if device == "cpu" or not sees_gpu():
        return [torch.device("cpu")] * count
    if count == 1:
        return [torch.device("cuda")]
    if (there := torch.cuda.device_count()) < count:
        raise UserError(f"--devices is {count}, expected at most {there}: PyTorch sees no more GPUs")
    return [torch.device("cuda", number) for number in range(count)]


def require_devices(device: Device | None, count: int) -> None:
    """Raise UserError if there are fewer devices than `count`; on a CPU, fewer cores."""
    [first, *_] = open_devices(device, count)
    if first.type == "cpu" and count > (cores := limits.usable_cores()):
        raise UserError(
            f"--devices is {count}, expected at most {cores}: without GPUs each device is a core, and this process "
            f"may use {cores}"
        )
