"""Where numba keeps compiled code: a folder for each state of this package's sources.

Numba's own cache looks only at the file that a function stands in, so after an update it may go on with code compiled
from an older state of another. Import this before anything is compiled.
"""

from __future__ import annotations

import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any

import numba

from tasks.places import cache, passing, usable


def use_own_cache() -> None:
    """Point numba's cache at the folder of these sources; a cache the user has chosen stays chosen.

    Numba refuses to compile what it cannot keep, so where nothing can be written it gets a folder that passes away.
    """
    settings: Any = import_module("numba.core.config")
    if settings.CACHE_DIR and usable(Path(settings.CACHE_DIR)):
        return
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    settings.CACHE_DIR = str(cache(f"compiled/{digest.hexdigest()[:12]}") or passing("compiled"))


use_own_cache()
