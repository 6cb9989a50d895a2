"""The subjects of timing: a mechanism alone, steps of a whole model, or a ceiling of the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from lra import backends
from lra.backends import Clock
from lra.bench import operations, presets
from lra.bench import parity as bench_parity
from lra.bench.operations import Cost
from lra.bench.plan import COPY_BYTES, PRODUCT_SIDE, BenchCell, blueprint_of
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import WHOLE, Grouping, plan_padding
from lra.model.weights import initial_weights, parameter_count

ITEMSIZE = {"float32": 4, "bfloat16": 2}


@runtime_checkable
class Subject(Protocol):
    """A subject of timing."""

    def load(self) -> None:
        """Put the arrays on the device."""
        ...

    def drop(self) -> None:
        """Free the arrays on the device."""
        ...

    def call(self) -> Any:
        """Use the arrays once. The result is something to wait for."""
        ...

    def cost(self) -> Cost:
        """Operations and bytes of one step."""
        ...

    def environment(self) -> dict[str, Any]:
        """Facts about the framework and the device, for the record."""
        ...


class Attending:
    """The mechanism alone, forward and backward."""

    def __init__(self, cell: BenchCell, clock: Clock) -> None:
        self._cell, self._clock = cell, clock
        self._blueprint = blueprint_of(cell)
        self._drawn = bench_parity.draw(self._blueprint, cell.batch, cell.length, cell.seed)
        self._attend = clock.attend(self._blueprint)
        self._placed: list[dict[str, Any]] = []

    def load(self) -> None:
        self._placed = [self._clock.place(arrays, self._cell.dtype) for arrays in self._drawn]

    def drop(self) -> None:
        self._placed = []

    def call(self) -> Any:
        return self._attend(*self._placed[:3], self._placed[3]["cotangent"])

    def cost(self) -> Cost:
        return operations.attend_cost(self._blueprint, self._cell.batch, self._cell.length, ITEMSIZE[self._cell.dtype])

    def environment(self) -> dict[str, Any]:
        return _environment(self._cell) | {"precision": self._cell.dtype}


class Stepping:
    """Training steps or forward passes of the standard model, or of the encoder of a shape."""

    def __init__(self, cell: BenchCell, clock: Clock) -> None:
        self._cell = cell
        self._blueprint = presets.blueprint(cell) if cell.preset else blueprint_of(cell)
        self._backend = backends.get(cell.backend, [self._blueprint], cell.device)
        self._weights = initial_weights(self._blueprint)
        grouping = self._backend.grouping
        self._chunk = presets.first_chunk(cell, grouping) if cell.preset else random_chunk(cell, grouping)
        if self._blueprint.patches is not None:
            self._chunk = of_images(self._chunk, self._blueprint, cell.seed)
        self._state: Any = None

    def load(self) -> None:
        self._state = self._backend.start([self._weights])

    def drop(self) -> None:
        self._state = None

    def call(self) -> Any:
        if not self._cell.learns:
            return self._backend.evaluate(self._state, self._chunk)
        self._state, _ = self._backend.train_steps(self._state, [self._chunk])
        return self._state

    def cost(self) -> Cost:
        train, parameters = self._cell.learns, parameter_count(self._weights)
        itemsize = ITEMSIZE[self._cell.dtype]
        if (lengths := self._chunk.lengths) is not None:
            return operations.ragged_cost(self._blueprint, lengths, itemsize, parameters, train=train)
        sizes = (self._blueprint, self._cell.batch, self._cell.length, itemsize)
        return operations.train_cost(*sizes, parameters) if train else operations.infer_cost(*sizes)

    def environment(self) -> dict[str, Any]:
        return self._backend.environment()


class Ceiling:
    """A ceiling of the device: a large matrix product, or a large copy."""

    def __init__(self, cell: BenchCell, clock: Clock) -> None:
        self._cell, self._clock = cell, clock
        self._side = PRODUCT_SIDE[cell.device]
        self._call: Callable[[], Any] | None = None

    def load(self) -> None:
        if self._cell.kind == "product":
            rng = np.random.default_rng(self._cell.seed)
            drawn = {
                name: rng.standard_normal((self._side, self._side), dtype=np.float32) for name in ("left", "right")
            }
            self._call = self._clock.product(**self._clock.place(drawn, self._cell.dtype))
        else:
            ones = np.ones(COPY_BYTES[self._cell.device] // ITEMSIZE[self._cell.dtype], np.float32)
            self._call = self._clock.copy(self._clock.place({"array": ones}, self._cell.dtype)["array"])

    def drop(self) -> None:
        self._call = None

    def call(self) -> Any:
        assert self._call is not None, "load comes first"
        return self._call()

    def cost(self) -> Cost:
        if self._cell.kind == "product":
            return Cost(flop=2 * self._side**3, bytes=3 * self._side**2 * ITEMSIZE[self._cell.dtype])
        return Cost(flop=0, bytes=2 * COPY_BYTES[self._cell.device])

    def environment(self) -> dict[str, Any]:
        return {}


def subject(cell: BenchCell, clock: Clock) -> Subject:
    """The subject of a cell."""
    kinds: dict[str, type] = {"attend": Attending, "product": Ceiling, "copy": Ceiling}
    return kinds.get(cell.kind, Stepping)(cell, clock)


def random_chunk(cell: BenchCell, grouping: Grouping = WHOLE) -> Chunk:
    """Steps of random bytes in documents of full length, in as many groups as in a run."""
    padding = plan_padding(np.array([cell.length]), cell.length, cell.batch, cell.chunk, grouping)
    rng = np.random.default_rng(cell.seed)
    shape = (cell.chunk, cell.batch)
    return Chunk(
        tokens=rng.integers(1, 256, (*shape, 1, cell.length), dtype=np.uint8),
        lengths=None,
        labels=rng.integers(0, 2, shape, dtype=np.int32),
        steps=np.arange(cell.chunk, dtype=np.int32),
        rates=np.full(cell.chunk, 1e-4 if cell.learns else 0.0),
        places=np.tile(np.arange(cell.batch, dtype=np.int32), (cell.chunk, 1)),
        sizes=padding.sizes,
        size_of=np.zeros((cell.chunk, padding.groups), np.int32),
    )


def of_images(chunk: Chunk, blueprint: Blueprint, seed: int) -> Chunk:
    """Steps of random images, with labels of the encoder's classes."""
    assert blueprint.patches is not None, "the encoder is one of images"
    rng = np.random.default_rng(seed)
    pixels = blueprint.dims.max_length * blueprint.patches.numbers
    return replace(
        chunk,
        tokens=rng.integers(0, 256, (*chunk.tokens.shape[:3], pixels), dtype=np.uint8),
        labels=rng.integers(0, blueprint.classes, chunk.labels.shape, dtype=np.int32),
        sizes=(pixels,),
    )


def _environment(cell: BenchCell) -> dict[str, Any]:
    return backends.get(cell.backend, [blueprint_of(cell)], cell.device).environment()
