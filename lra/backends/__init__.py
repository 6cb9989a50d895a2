"""What a backend is: an encoder and its training step in one framework, fed and read through NumPy."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int

from lra.core.environment import ROOT, has_gpu
from lra.core.errors import UserError
from lra.core.frameworks import Device, require_installed
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import Grouping
from lra.model.sharing import ALONE, Sharing
from lra.model.weights import Weights

Products = Literal["float32", "bfloat16"]

PRECISION: dict[Products, str] = {"float32": "float32", "bfloat16": "bfloat16 products, float32 sums"}
"""How a record tells what matrix products are taken in; the first word is their dtype."""


TOGETHER = ("jax",)
"""The frameworks that train several seeds in one program."""


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Totals over the examples of each of K batches; sums, so that a short last batch counts correctly."""

    loss: Float[np.ndarray, " K"]
    correct: Int[np.ndarray, " K"]
    count: Int[np.ndarray, " K"]


@runtime_checkable
class Backend(Protocol):
    """One framework, and one run or several that differ in nothing but their seed: sequences have an entry for each.

    A state is the framework's own; the loop only hands it back.
    """

    @property
    def grouping(self) -> Grouping:
        """How ragged batches are best cut on this device."""
        ...

    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None] | None = None) -> Any:
        """A state with these weights, or the one that `snapshots` describe; UserError where they are not like them."""
        ...

    def train_steps(self, state: Any, chunks: Sequence[Chunk]) -> tuple[Any, list[Sums]]:
        """Take the chunks' K optimiser steps; the state that was given may not be used again."""
        ...

    def evaluate(self, state: Any, chunk: Chunk) -> list[Sums]:
        """Loss and correct answers of every run on one chunk, without dropout and without learning."""
        ...

    def logits(self, state: Any, chunk: Chunk) -> list[Float[np.ndarray, "K B classes"]]:
        """Every run's scores of each class for each row of a chunk, without dropout."""
        ...

    def weights(self, state: Any) -> list[Weights]:
        """The state's weights and constants as NumPy arrays, named as in lra.model.weights."""
        ...

    def snapshots(self, state: Any) -> list[Weights]:
        """Weights and optimiser moments: what `start` needs to go on as if nothing had happened."""
        ...

    def peak_memory(self) -> int:
        """Bytes: the most the device's allocator has held, or on a CPU this process's greatest resident size."""
        ...

    def environment(self) -> dict[str, Any]:
        """Framework, its version, device and precision, for the record."""
        ...

    def close(self) -> None:
        """End the processes of other devices, where there are any; the states may not be used any more."""
        ...


@runtime_checkable
class Clock(Protocol):
    """What `bench` needs of one framework on one device: things to time, a way to wait for them, the memory held."""

    def place(self, arrays: Weights, dtype: str) -> dict[str, Any]:
        """Copies on the device, those of real numbers rounded to `dtype` ("float32", "bfloat16")."""
        ...

    def numpy(self, array: Any) -> np.ndarray:
        """An array of the device in NumPy, real numbers as float64."""
        ...

    def attend(self, blueprint: Blueprint) -> Callable[..., tuple[Any, dict[str, Any]]]:
        """(inputs by letter, params, constants, cotangent) -> out, and the gradients of <out, cotangent> (+ penalty).

        Arrays are placed ones; every position is real. Gradients are by every input and parameter.
        """
        ...

    def product(self, left: Any, right: Any) -> Callable[[], Any]:
        """A call that multiplies two square matrices."""
        ...

    def copy(self, array: Any) -> Callable[[], Any]:
        """A call that reads and writes as many bytes as the array has, each once."""
        ...

    def wait(self, result: Any) -> None:
        """Return when the device has finished `result` and all that was asked of it before."""
        ...

    def release(self) -> None:
        """Give memory that the framework keeps for later back to the device."""
        ...

    def restart_peak_memory(self) -> None:
        """Count the peak from here on, where the allocator can."""
        ...

    def peak_memory(self) -> int | None:
        """Bytes that the device's allocator has held at most; None on a CPU, where the process says it."""
        ...


def get(name: str, blueprints: Sequence[Blueprint], device: Device | None, sharing: Sharing = ALONE) -> Backend:
    """The backend of these runs on that kind of device; None means GPUs where the framework sees one.

    The blueprints differ in nothing but their seed. Several need a framework of TOGETHER. Who shares a batch among
    several devices closes the backend.
    """
    require_installed(name)
    mechanism = blueprints[0].mechanism
    if name not in mechanism.backends:
        raise UserError(f"{mechanism.name} has no {name} implementation; it has: {', '.join(mechanism.backends)}")
    return import_module(f"lra.backends.{name}.backend").open_backend(blueprints, device, sharing)


def on_gpu(name: str, device: Device | None) -> bool:
    """Whether `get` takes a GPU; the framework is asked. UserError where a GPU is wanted and none is there."""
    if device == "cpu":
        return False
    require_installed(name)
    found = import_module(f"lra.backends.{name}.device").sees_gpu()
    if device == "gpu" and not found:
        raise UserError(f"--device gpu: {name} sees no CUDA GPU, and no other kind is supported: use --device cpu")
    return found


def require_devices(name: str, device: Device | None, count: int) -> None:
    """Raise UserError if the framework sees fewer devices of that kind. Call it before the framework opens any."""
    if count > 1:
        require_installed(name)
        import_module(f"lra.backends.{name}.device").require_devices(device, count)


def gpu_seen_elsewhere(name: str) -> bool:
    """Whether that framework sees a GPU, asked in another process: this one shall hold no memory there."""
    ask = "import sys; from lra import backends; sys.exit(not backends.on_gpu(sys.argv[1], None))"
    return has_gpu() and subprocess.run([sys.executable, "-c", ask, name], cwd=ROOT, check=False).returncode == 0


def pinned(name: str) -> AbstractContextManager[None]:
    """Inside, the framework's global switches that decide numbers stand as a run needs them; afterwards as before."""
    require_installed(name)
    return import_module(f"lra.backends.{name}.switches").pinned()


def get_clock(name: str, device: Device) -> Clock:
    """The clock of that framework on that device."""
    require_installed(name)
    return import_module(f"lra.backends.{name}.clock").open_clock(device)


def products_of(blueprint: Blueprint, *, on_gpu: bool) -> Products:
    """What matrix products are taken in there, "auto" resolved."""
    chosen = blueprint.train.precision
    if chosen == "auto":
        return "bfloat16" if on_gpu else "float32"
    return chosen


def host_peak_memory() -> int:
    """The greatest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
