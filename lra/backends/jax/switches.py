"""JAX's global switches that decide a run's numbers: pinned around it in this thread alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import jax

PINNED: dict[str, Any] = {
    "enable_x64": False,
    "default_prng_impl": "threefry2x32",
    "threefry_partitionable": True,
    "default_matmul_precision": None,
    "numpy_dtype_promotion": "standard",
    "default_device": None,
    "disable_jit": False,
}
"""JAX's own defaults, whatever JAX_… or jax.config says."""


def switches() -> dict[str, Any]:
    """The current value of every switch by name, and the user's compiler flags, for a record."""
    stand = {name: getattr(jax.config, f"jax_{name}") for name in PINNED}
    return {name: value if value is None else _plain(value) for name, value in stand.items()} | {
        "XLA_FLAGS": os.environ.get("XLA_FLAGS")
    }


@contextmanager
def pinned() -> Iterator[None]:
    """Inside, every switch stands as a run needs it; afterwards all is as it was."""
    with ExitStack() as held:
        for name, value in PINNED.items():
            held.enter_context(getattr(jax, name)(value))
        yield


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | str) else str(value)
