"""The folder of numba's compiled code: one for each state of this package's sources.

Numba's own cache checks only the file of a function. So after an update it may use code that was compiled from an older
state of another file. Import this module before anything is compiled.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numba

from tasks.places import cache, passing, usable


def use_own_cache() -> None:
    """Set numba's cache to the folder of these sources, unless the user has chosen a cache.

    Numba refuses to compile without a cache. So if no folder can be written, it gets a temporary one.
    """
    settings: Any = import_module("numba.core.config")
    if settings.CACHE_DIR and usable(Path(settings.CACHE_DIR)):
        return
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    settings.CACHE_DIR = str(cache(f"compiled/{digest.hexdigest()[:12]}") or passing("compiled"))


use_own_cache()
