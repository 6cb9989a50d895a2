"""Python's collector of cycles, told to rest while thousands of records are in memory.

It looks through every object again each time their number has grown by a quarter; records hold no cycles, so it finds
nothing there. Reference counts free them as ever. Cycles stay until the command ends, so only short ones may rest it.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def resting_collector() -> Iterator[None]:
    """Collect no cycles within this block or, as a decorator, this function; afterwards as before."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()
