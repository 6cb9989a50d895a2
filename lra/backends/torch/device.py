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
    """So many of the wanted kind, GPUs where there is one; UserError where PyTorch does not see them.

    On a CPU a device is a process; there may be more of them than cores.
    """
    if device == "gpu" and not sees_gpu():
        raise UserError("--device gpu was asked for, but PyTorch sees no CUDA device: use --device cpu")
    if device == "cpu" or not sees_gpu():
        return [torch.device("cpu")] * count
    if count == 1:
        return [torch.device("cuda")]
    if (there := torch.cuda.device_count()) < count:
        raise UserError(f"--devices is {count}, expected at most {there}: so many GPUs does PyTorch see")
    return [torch.device("cuda", number) for number in range(count)]


def require_devices(device: Device | None, count: int) -> None:
    """UserError where there are not so many; on a CPU each is to have a core."""
    [first, *_] = open_devices(device, count)
    if first.type == "cpu" and count > (cores := limits.usable_cores()):
        raise UserError(
            f"--devices is {count}, expected at most {cores}: without GPUs each device is a core, and this process may "
            f"use {cores}"
        )
