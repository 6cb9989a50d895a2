"""Sweeps that need no process: items, and an engine that only remembers what it was asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lra.core.config import Run
from lra.sweep.engine import Order
from lra.sweep.items import Item
from lra.sweep.work import Answer
from lra.training import checkpoint
from tests.small import smoke_run

RUN = smoke_run("listops", "linear", backend="torch")


def item(results: Path, number: int, run: Run = RUN) -> Item:
    """A run of its own folder."""
    return Item(title=f"run {number}", run=run, work=checkpoint.folder(results, f"{number:012x}"))


class ScriptedEngine:
    """An Engine that answers each order at once, by title, with the next of its answers."""

    def __init__(self, answers: dict[str, list[Answer]], jobs: int = 1) -> None:
        self._answers, self._jobs = answers, jobs
        self.running: list[Order] = []
        self.began: list[str] = []
        self.refused: dict[str, OSError] = {}
        """The errors with which orders cannot start, by title."""
        self.act: Callable[[], object] = lambda: None

    @property
    def jobs(self) -> int:
        return self._jobs

    def accepts(self, order: Order) -> bool:
        alone = any(each.alone for each in (*self.running, order))
        return not self.running or (len(self.running) < self._jobs and not alone)

    def start(self, order: Order) -> None:
        if order.title in self.refused:
            raise self.refused[order.title]
        self.running.append(order)
        self.began.append(order.title)

    def ended(self, seconds: float) -> list[tuple[Order, Answer]]:
        self.act()
        ready, self.running = self.running, []
        return [(order, self._answers.get(order.title, [Answer(state="done")]).pop(0)) for order in ready]

    def stop(self) -> list[tuple[Order, Answer]]:
        ready, self.running = self.running, []
        return [(order, Answer(state="stopped")) for order in ready]
