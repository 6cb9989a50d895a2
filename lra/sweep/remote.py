"""The part of an order that runs on another machine than its sweep, in a task of Ray or SLURM."""

from __future__ import annotations

import time
from dataclasses import replace
from threading import Thread

from lra.sweep.engine import Order
from lra.sweep.local import LocalEngine, Share
from lra.sweep.work import Answer

POLL = 0.2  # seconds between two checks whether the process has ended, or should end


class Performance:
    """An order that a process of this machine performs, while a thread waits for it.

    The caller waits for the thread. So it can be interrupted at any moment, also by a signal handler, and then `stop`.
    """

    def __init__(self, order: Order, threads: int) -> None:
        """Start the process with this many `threads`. The cluster decides which cores it uses."""
        self._order, self._stopping = order, False
        self._engine = LocalEngine([Share(cores=(), threads=threads)])
        self._answer = Answer(state="died", why="the thread that waited for its process failed")
        self._engine.start(order)
        self._thread = Thread(target=self._watch, name="order", daemon=True)
        self._thread.start()

    def answer(self) -> Answer:
        """Wait until the process has ended."""
        while self._thread.is_alive():
            time.sleep(POLL)
        return self._answer

    def stop(self) -> Answer:
        """Ask the process to save and end, and wait for it."""
        self._stopping = True
        return self.answer()

    def _watch(self) -> None:
        ended = self._engine.ended(POLL)
        while not ended:
            ended = self._engine.stop() if self._stopping else self._engine.ended(POLL)
        [(_, self._answer)] = ended


def for_elsewhere(order: Order) -> Order:
    """The order for another machine, which shares the folder of results: with absolute paths."""
    return replace(order, log=order.log.absolute())
