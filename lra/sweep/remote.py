"""An order on another machine than its sweep's: what Ray's and SLURM's tasks do there."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Thread

from lra.sweep.engine import Order
from lra.sweep.local import LocalEngine, Share
from lra.sweep.work import Answer

POLL = 0.2  # seconds between two looks at whether it has ended, or shall


class Performance:
    """An order that is performed by a process of this machine, which a thread waits for.

    So whoever waits for the thread may be interrupted at any moment, by a signal's handler too, and may then `stop` it.
    """

    def __init__(self, order: Order, threads: int) -> None:
        """`threads`: as many as the process may use. Who gives out the machine's cores says which ones."""
        self._order, self._stopping = order, False
        self._engine = LocalEngine([Share(cores=(), threads=threads)])
        self._answer = Answer(state="died", why="what waited for its process failed")
        self._engine.start(order)
        self._thread = Thread(target=self._watch, name="order", daemon=True)
        self._thread.start()

    def answer(self) -> Answer:
        """Wait for the end."""
        while self._thread.is_alive():
            time.sleep(POLL)
        return self._answer

    def stop(self) -> Answer:
        """Let it save and end, and wait until it has."""
        self._stopping = True
        return self.answer()

    def _watch(self) -> None:
        ended = self._engine.ended(POLL)
        while not ended:
            ended = self._engine.stop() if self._stopping else self._engine.ended(POLL)
        [(_, self._answer)] = ended


def for_elsewhere(order: Order) -> Order:
    """The order as another machine understands it, which shares the folder of results and stands in another one."""
    return replace(order, log=order.log.absolute())
