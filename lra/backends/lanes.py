"""Several runs that differ in nothing but their seed, trained side by side; a single run is the shortest case.

Everything is a list with one entry a run. Where a backend can, all of them are one program.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from lra import backends
from lra.backends import Backend, Sums
from lra.core.frameworks import Device
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import Grouping
from lra.model.weights import Weights

TOGETHER = ("jax",)
"""The backends that train several seeds in one program."""


@runtime_checkable
class Lanes(Protocol):
    """A Backend for a list of runs."""

    @property
    def grouping(self) -> Grouping: ...
    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None]) -> Any: ...
    def train_steps(self, state: Any, chunks: Sequence[Chunk]) -> tuple[Any, list[Sums]]: ...
    def evaluate(self, state: Any, chunk: Chunk) -> list[Sums]: ...
    def weights(self, state: Any) -> list[Weights]: ...
    def snapshots(self, state: Any) -> list[Weights]: ...
    def peak_memory(self) -> int: ...
    def environment(self) -> dict[str, Any]: ...


class Alone:
    """The Lanes of one run on any backend."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self.peak_memory = backend.peak_memory
        self.environment = backend.environment

    @property
    def grouping(self) -> Grouping:
        return self._backend.grouping

    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None]) -> Any:
        return self._backend.start(weights[0], snapshots[0])

    def train_steps(self, state: Any, chunks: Sequence[Chunk]) -> tuple[Any, list[Sums]]:
        state, sums = self._backend.train_steps(state, chunks[0])
        return state, [sums]

    def evaluate(self, state: Any, chunk: Chunk) -> list[Sums]:
        return [self._backend.evaluate(state, chunk)]

    def weights(self, state: Any) -> list[Weights]:
        return [self._backend.weights(state)]

    def snapshots(self, state: Any) -> list[Weights]:
        return [self._backend.snapshot(state)]


def open_lanes(name: str, blueprints: Sequence[Blueprint], device: Device | None) -> Lanes:
    """One backend for runs that differ in their seed; several need one of TOGETHER."""
    first = backends.get(name, blueprints[0], device)
    if len(blueprints) == 1:
        return Alone(first)
    return import_module(f"lra.backends.{name}.seeds").Seeds(first, [each.seed for each in blueprints])
