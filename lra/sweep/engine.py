"""What an engine is: who performs orders, somewhere. Plans and leases know nothing of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lra.sweep.work import Answer


@dataclass(frozen=True, kw_only=True)
class Order:
    """Something to perform, and what it needs."""

    key: str
    """Names it among the orders of a sweep."""
    title: str
    values: dict[str, Any]
    """Plain values, as lra.sweep.worker takes them."""
    log: Path
    """Gets what it prints."""
    memory: int | None = None
    """Bytes that it is expected to take; None where nobody knows."""
    alone: bool = False
    """Whether nothing may run beside it: it measures time."""


@runtime_checkable
class Engine(Protocol):
    """Performs orders, several at a time."""

    @property
    def jobs(self) -> int:
        """How many orders it performs at a time, as far as that is known."""
        ...

    def accepts(self, order: Order) -> bool:
        """Whether `start` may be called now."""
        ...

    def start(self, order: Order) -> None:
        """Begin to perform it."""
        ...

    def ended(self, seconds: float) -> list[tuple[Order, Answer]]:
        """The orders that have ended since the last call; waits so long for the first."""
        ...

    def stop(self) -> list[tuple[Order, Answer]]:
        """Ask all that runs to save and end, and wait until it has."""
        ...
