"""What `bench` times in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra.backends.jax.device import open_device
from lra.core.frameworks import Device
from lra.model.blueprint import Blueprint
from lra.model.weights import Weights


class JaxClock:
    """The Clock of JAX; a mechanism runs as one compiled function."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def place(self, arrays: Weights, dtype: str) -> dict[str, Any]:
        return {name: self._placed(array, dtype) for name, array in arrays.items()}

    def numpy(self, array: jax.Array) -> np.ndarray:
        return np.asarray(array, np.float64 if jnp.issubdtype(array.dtype, jnp.floating) else None)

    def attend(self, blueprint: Blueprint) -> Callable[..., tuple[Any, dict[str, Any]]]:
        mechanism = blueprint.mechanism
        attend = mechanism.attend("jax")

        def call(given: Any, params: Any, constants: Any, cotangent: jax.Array) -> tuple[jax.Array, dict]:
            def forward(given: Any, params: Any) -> tuple[jax.Array, ...]:
                out = attend(
                    *(given[letter] for letter in blueprint.inputs),
                    lengths=None,
                    params=params,
                    constants=constants,
                    options=blueprint.options,
                    dims=blueprint.dims,
                )
                return tuple(part for part in mechanism.card.parts(out)[:2] if part is not None)

            outs, pull_back = jax.vjp(forward, given, params)
            by_input, by_param = pull_back((cotangent, *(jnp.ones_like(penalty) for penalty in outs[1:])))
            return outs[0], by_input | by_param

        return self._one_by_one(jax.jit(call))

    def product(self, left: jax.Array, right: jax.Array) -> Callable[[], Any]:
        compiled = self._one_by_one(jax.jit(jnp.matmul))
        return lambda: compiled(left, right)

    def copy(self, array: jax.Array) -> Callable[[], Any]:
        # In place: a new array for each copy would time the allocator and, on a CPU, its page faults.
        compiled = self._one_by_one(jax.jit(lambda x: x + 1, donate_argnums=0))
        held = [jnp.array(array, copy=True)]

        def call() -> jax.Array:
            held[0] = compiled(held[0])
            return held[0]

        return call

    def wait(self, result: Any) -> None:
        jax.block_until_ready(result)

    def release(self) -> None:
        """Nothing: what JAX keeps it keeps."""

    def restart_peak_memory(self) -> None:
        """Nothing: JAX counts the peak over the life of the process."""

    def peak_memory(self) -> int | None:
        stats = self._device.memory_stats()
        return stats["peak_bytes_in_use"] if stats else None

    def _placed(self, array: np.ndarray, dtype: str) -> jax.Array:
        real = np.issubdtype(array.dtype, np.floating)
        # A copy: on a CPU JAX would look into NumPy's buffer, which no meter would count.
        return jax.device_put(jnp.array(array, dtype if real else None, copy=True), self._device)

    def _one_by_one(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """On a CPU each call is waited for, since independent ones would run side by side; a GPU keeps their order."""
        return call if self._device.platform == "gpu" else lambda *given: jax.block_until_ready(call(*given))


def open_clock(device: Device) -> JaxClock:
    """The clock of that device; UserError where JAX does not see it."""
    return JaxClock(open_device(device))
