"""Parallel work on several threads, for compiled code that releases the interpreter lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Made = TypeVar("Made")


def in_order(make: Callable[[Part], Made], parts: Iterable[Part], threads: int) -> Generator[Made, None, None]:
    """Yield make(part) for every part, in order, computed a few parts ahead of the reader. Parts may be endless.

    Closing the generator, or an interrupt while it waits, cancels parts that have not begun.
    """
    pending: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        try:
            for part in parts:
                pending.append(pool.submit(make, part))
                if len(pending) > 2 * threads:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
