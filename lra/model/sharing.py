"""One batch on several devices, or in several parts one after the other: the same examples, places and sums.

Every device takes an equal number of rows of each group, so all of them compute the same shapes. A row keeps its place
in the batch, on which dropout depends, and a batch's mean is over all of its examples, wherever they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lra.core.errors import UserError
from lra.model.batches import Chunk


@dataclass(frozen=True)
class Sharing:
    """The way a batch is computed. Numbers depend on it only in their last digits."""

    devices: int = 1
    """Devices that share each batch."""
    accumulate: int = 1
    """Parts of a device's share, computed one after the other. Each part needs less memory."""

    @property
    def told(self) -> str:
        """Words for messages, to follow the batch size."""
        parts = f" in {self.accumulate} parts" if self.accumulate > 1 else ""
        return (f" on {self.devices} devices" if self.devices > 1 else "") + parts

    @property
    def flags(self) -> list[str]:
        """The command-line flags of this sharing."""
        given = {"--devices": self.devices, "--accumulate": self.accumulate}
        return [word for name, value in given.items() if value > 1 for word in (name, str(value))]

    def check(self, batch: int) -> None:
        """Raise UserError if a batch of this many examples cannot be shared equally."""
        _require("devices", self.devices, batch, "")
        each = f" on each of {self.devices} devices" if self.devices > 1 else ""
        _require("accumulate", self.accumulate, batch // self.devices, each)


ALONE = Sharing()


def _require(flag: str, given: int, rows: int, where: str) -> None:
    if given < 1 or rows % given:
        fits = [str(number) for number in range(1, rows + 1) if rows % number == 0]
        raise UserError(
            f"--{flag} is {given}, expected a divisor of {rows}, the examples of a batch{where}: "
            f"{', '.join(fits[:12])}{', …' if len(fits) > 12 else ''}; or change --train.batch-size"
        )


def by_device(chunk: Chunk, devices: int) -> Chunk:
    """The chunk with rows ordered by device. Every device has an equal number of rows of each group."""
    if devices == 1:
        return chunk
    groups = chunk.size_of.shape[1]

    def ordered(array: np.ndarray) -> np.ndarray:
        steps, _, *rest = array.shape
        return array.reshape(steps, groups, devices, -1, *rest).swapaxes(1, 2).reshape(array.shape)

    return _with_rows(chunk, ordered)


def shares(chunk: Chunk, devices: int) -> list[Chunk]:
    """The chunk of each device. It has the same groups, with fewer rows each."""
    ordered, each = by_device(chunk, devices), chunk.labels.shape[1] // devices
    of = replace(ordered, of=chunk.examples)
    return [_with_rows(of, lambda array, at=at: array[:, at * each : (at + 1) * each]) for at in range(devices)]


def _with_rows(chunk: Chunk, call: Callable[[np.ndarray], np.ndarray]) -> Chunk:
    """The chunk with the call's result for each array that has rows."""
    return replace(
        chunk,
        tokens=call(chunk.tokens),
        lengths=None if chunk.lengths is None else call(chunk.lengths),
        labels=call(chunk.labels),
        places=call(chunk.places),
    )
