"""Several threads on a CPU, each with one core: they share a batch's groups, not the inside of an operation.

At these sizes an operation split over two cores takes about as long as on one, and two groups at a time half as long.
A group's numbers do not depend on how many threads there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


class Threads:
    """`count` threads. With one there is no pool: the caller's thread computes.

    With several `turns` the items of one are done before those of the next are begun.
    """

    def __init__(self, count: int, turns: int = 1) -> None:
        self._turns = turns
        self._pool = ThreadPoolExecutor(count, "group", lambda: torch.set_num_threads(1)) if count > 1 else None

    @contextmanager
    def one_core_each(self) -> Iterator[None]:
        """Inside, PyTorch splits no operation over cores: neither in the caller's thread nor in those of `map`."""
        before = torch.get_num_threads()
        if self._pool is not None:
            torch.set_num_threads(1)
        try:
            yield
        finally:  # also for threads that the caller starts later: PyTorch gives them the number that was set last
            torch.set_num_threads(before)

    def map(self, call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """The results in the order of the items; of a turn the last, as a rule the longest, are begun first."""
        each = -(-len(items) // self._turns)
        turns = [items[first : first + each] for first in range(0, len(items), each)]
        return [result for turn in turns for result in self._side_by_side(call, turn)]

    def _side_by_side(self, call: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        if self._pool is None or len(items) == 1:
            return [call(item) for item in items]
        waiting = [self._pool.submit(call, item) for item in reversed(items)]
        return [each.result() for each in reversed(waiting)]
