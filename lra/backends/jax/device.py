"""JAX's devices, and what JAX has to be told before it opens one."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

import jax

from lra.core.errors import UserError
from lra.core.frameworks import Device
from tasks import limits
from tasks.places import cache

WORTH_KEEPING = 0.5  # seconds of compilation
CACHE_BYTES = 2**30
SIMULATED = "--xla_force_host_platform_device_count"


def sees_gpu() -> bool:
    """Whether JAX's own choice is a GPU."""
    return open_device(None).platform == "gpu"


def open_device(device: Device | None) -> Any:
    """That device, or JAX's own choice, which is a GPU where there is one; UserError where JAX sees none."""
    return open_devices(device, 1)[0]


def open_devices(device: Device | None, count: int) -> list[Any]:
    """`count` devices of that kind, by default GPUs if there are some. UserError if JAX sees fewer."""
    config: Any = jax.config  # whose fields its type does not know
    if config.jax_compilation_cache_dir is None and (kept := cache("xla")):  # else the user has chosen one
        config.update("jax_compilation_cache_dir", str(kept))
        config.update("jax_compilation_cache_max_size", CACHE_BYTES)
        config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    # The loop waits for every chunk anyway; handing it to another thread only moves its buffers between heaps.
    config.update("jax_cpu_enable_async_dispatch", False)
    try:
        found = jax.devices(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: of JAX_PLATFORMS=cuda without a GPU
        if platforms := os.environ.get("JAX_PLATFORMS"):
            raise UserError(
                f"JAX sees no {device or 'device'}, and may take {platforms} only: unset JAX_PLATFORMS"
            ) from error
        raise UserError(f"--device {device} was asked for, but JAX sees none: use --device cpu") from error
    if (kind := found[0].platform) not in ("cpu", "gpu"):
        raise UserError(f"JAX would take a {kind}, which is not supported: use --device cpu")
    if count > (there := len(found)):
        more = f"; XLA_FLAGS={SIMULATED}={count} simulates more on a CPU" if kind == "cpu" else ""
        raise UserError(f"--devices is {count}, expected at most {there}: JAX sees no more{more}")
    return found[:count]


def require_devices(device: Device | None, count: int) -> None:
    """Raise UserError if JAX sees fewer devices than `count`. Called first, it makes each core of a CPU a device."""
    config: Any = jax.config
    if SIMULATED not in os.environ.get("XLA_FLAGS", "") and config.jax_num_cpu_devices < 0:
        with suppress(RuntimeError):  # of a process in which JAX has opened its devices already
            config.update("jax_num_cpu_devices", min(count, limits.usable_cores()))
    open_devices(device, count)
