"""Pauses Python's garbage collector while thousands of records are in memory.

The collector visits every object each time their number has grown by a quarter. Records hold no cycles, so it finds
nothing. Reference counting still frees them. Only short commands may pause it, since cycles then stay in memory.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting_collector() -> Iterator[None]:
    """Pause the collection of cycles in a block or, as a decorator, in a function."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
