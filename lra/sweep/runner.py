"""The main loop of a sweep: starts items on an engine and notes how each one ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lra.core.errors import of_file
from lra.sweep.engine import Engine, Order
from lra.sweep.items import MINUTES, Item
from lra.sweep.work import Answer
from lra.training.trainer import Place

DEATHS = 3  # a run has failed after this many of its processes died
AGAIN = 5.0  # seconds between two checks of a run that another process holds
POLL = 0.5  # seconds to wait for the engine


@dataclass
class Sweep:
    """The items of one command, in the order of their start."""

    items: Sequence[Item]
    place: Place
    tell: Callable[[Item], object] = lambda item: None
    """Called when an item has started, has ended, or is held by another process."""
    show: Callable[[], object] = lambda: None
    """Called every POLL seconds."""
    _began: dict[int, float] = field(default_factory=dict)
    _looked: dict[int, float] = field(default_factory=dict)

    @property
    def results(self) -> Path:
        """The folder of results."""
        return self.place.results

    def run(self, engine: Engine, left: Callable[[], float]) -> None:
        """Run until no item or no time is left; running items then save. On KeyboardInterrupt they save too."""
        try:
            while left() > 0 and self._hand_out(engine, left):
                for order, answer in engine.ended(POLL):
                    self._note(int(order.key), answer)
                self.show()
        finally:
            for order, answer in engine.stop():
                self._note(int(order.key), answer, stopping=True)

    def _hand_out(self, engine: Engine, left: Callable[[], float]) -> bool:
        """Start the items that the engine accepts. Returns whether there is anything to wait for."""
        for number, item in enumerate(self.items):
            if item.status not in ("waiting", "held"):
                continue
            if item.words and left() < 60 * MINUTES and self._began:
                item.why = "it needs more time than is left"
                continue
            order = item.order(self.place, str(number))
            if item.status == "waiting" and not engine.accepts(order):
                if item.words:
                    break  # a benchmark waits until it is alone, and later items wait for it
                continue
            if self._free(number, item):
                self._start(engine, order, number, item)
        return any(self._expected(item) for item in self.items)

    def _expected(self, item: Item) -> bool:
        return item.status in ("running", "held") or (item.status == "waiting" and not item.why)

    def _free(self, number: int, item: Item) -> bool:
        """Whether the item is neither finished nor held. Its files are checked again from time to time."""
        now = time.monotonic()
        if item.status == "held" and now - self._looked.get(number, -AGAIN) < AGAIN:
            return False
        self._looked[number] = now
        holder, before = item.look(self.results), item.status
        if holder is not None:
            item.status, item.why = "held", holder.holder
            if before != "held":
                self.tell(item)
            return False
        if item.finished:
            self.tell(item)
            return False
        item.status, item.why = "waiting", ""
        return True

    def _start(self, engine: Engine, order: Order, number: int, item: Item) -> None:
        if not engine.accepts(order):
            return
        self._began[number] = time.monotonic()
        try:
            engine.start(order)
            item.status = "running"
        except OSError as error:
            item.fail(f"its process cannot start: {of_file(error)}")
        self.tell(item)

    def _note(self, number: int, answer: Answer, *, stopping: bool = False) -> None:
        item = self.items[number]
        item.why, item.took = answer.why, self.since(number)
        if answer.state == "done":
            item.status, item.record = "done", Path(answer.record) if answer.record else None
        elif answer.state == "failed":
            item.status = "failed"
        elif answer.state == "held":
            item.status = "held"
        else:
            item.status = "waiting"
            item.deaths += answer.state == "died" and not stopping
            item.why = ""
            if item.deaths >= DEATHS:
                item.status, item.why = "failed", f"{answer.why}, {item.deaths} times"
        self.tell(item)

    def since(self, number: int) -> float:
        """Seconds since the start of an item."""
        return time.monotonic() - self._began[number]
