"""The interface of engines, which perform orders on some machine. Plans and leases do not depend on it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lra.sweep.work import Answer


@dataclass(frozen=True, kw_only=True)
class Order:
    """An order to perform, and the resources that it needs."""

    key: str
    """The order's name within its sweep."""
    title: str
    values: dict[str, Any]
    """The order as plain values, for lra.sweep.worker."""
    log: Path
    """The file for the order's output."""
    memory: int | None = None
    """Bytes of memory that it is expected to need; None if unknown."""
    alone: bool = False
    """Whether it must run alone, since it measures time."""


@runtime_checkable
class Engine(Protocol):
    """Performs orders, several at a time."""

    @property
    def jobs(self) -> int:
        """The number of orders that it performs at a time, as far as that is known."""
        ...

    def accepts(self, order: Order) -> bool:
        """Whether `start` may be called with this order now."""
        ...

    def start(self, order: Order) -> None:
        """Start to perform the order."""
        ...

    def ended(self, seconds: float) -> list[tuple[Order, Answer]]:
        """The orders that ended since the last call. Waits up to this many seconds for the first one."""
        ...

    def stop(self) -> list[tuple[Order, Answer]]:
        """Ask all running orders to save and end, and wait for them."""
        ...
