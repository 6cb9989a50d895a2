"""Where numba keeps compiled code: a folder for each state of this package's sources.

Numba's own cache looks only at the file that a function stands in, so after an update it may go on with code compiled
from an older state of another. Import this before anything is compiled.
"""

from __future__ import annotations

import hashlib
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
from platformdirs import user_cache_path


def use_own_cache() -> None:
    """Point numba's cache at the folder of these sources; a cache the user has chosen stays chosen."""
    settings: Any = import_module("numba.core.config")
    if settings.CACHE_DIR:
        return
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    place = user_cache_path("lra") / "compiled" / digest.hexdigest()[:12]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError:
        return  # numba then caches beside the sources, or not at all
    if os.access(place, os.W_OK):
        settings.CACHE_DIR = str(place)


use_own_cache()
