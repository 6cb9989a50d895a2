"""JAX's device, and what JAX has to be told before it opens one."""

from __future__ import annotations

import os
from typing import Any

import jax

from lra.core.errors import UserError
from lra.core.frameworks import Device
from tasks.places import cache

WORTH_KEEPING = 0.5  # seconds of compilation
CACHE_BYTES = 2**30


def open_device(device: Device | None) -> Any:
    """That device, or JAX's own choice, which is a GPU where there is one; UserError where JAX sees none."""
    config: Any = jax.config  # whose fields its type does not know
    if config.jax_compilation_cache_dir is None and (kept := cache("xla")):  # else the user has chosen one
        config.update("jax_compilation_cache_dir", str(kept))
        config.update("jax_compilation_cache_max_size", CACHE_BYTES)
        config.update("jax_persistent_cache_min_compile_time_secs", WORTH_KEEPING)
    # The loop waits for every chunk anyway; handing it to another thread only moves its buffers between heaps.
    config.update("jax_cpu_enable_async_dispatch", False)
    try:
        found = jax.devices(device)[0]
    except (RuntimeError, AssertionError) as error:  # AssertionError: of JAX_PLATFORMS=cuda without a GPU
        if platforms := os.environ.get("JAX_PLATFORMS"):
            raise UserError(
                f"JAX sees no {device or 'device'}, and may take {platforms} only: unset JAX_PLATFORMS"
            ) from error
        raise UserError(f"--device {device} was asked for, but JAX sees none: use --device cpu") from error
    if found.platform not in ("cpu", "gpu"):
        raise UserError(f"JAX would take a {found.platform}, which is not supported: use --device cpu")
    return found
