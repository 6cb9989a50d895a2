"""Where the tests keep what compilers made, so that the next session, or the other worker, does not make it again.

LRA_TEST_CACHE names the folder; without it, it lies in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from platformdirs import user_cache_path

LIMIT_BYTES = 2 * 2**30


def folder() -> Path:
    """The folder of all kept code."""
    given = os.environ.get("LRA_TEST_CACHE")
    return Path(given) if given else user_cache_path("lra-tests")


def key() -> str:
    """A name for the compilers and the processor: code made by or for others is never read."""
    parts = [platform.python_version(), platform.machine(), _processor()]
    for package in ("jaxlib", "numba"):
        try:
            parts.append(version(package))
        except PackageNotFoundError:
            continue
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def keep() -> None:
    """Name the caches to this process and its children. JAX must not have been imported."""
    xla = folder() / f"xla-{key()}"
    _forget_the_oldest(xla)
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(xla))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
    # Bytecode too, whatever the shell says: without it every worker and every child compiles each module anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def _processor() -> str:
    """What the processor can do, as Linux lists it, or its name."""
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    return next((line for line in info.read_text(encoding="utf-8").splitlines() if line.startswith("flags")), "")


def _forget_the_oldest(xla: Path) -> None:
    """Delete the programs that were written first until the rest is below the limit."""
    kept = sorted(xla.glob("*-cache"), key=lambda path: path.stat().st_mtime_ns)
    size = sum(path.stat().st_size for path in kept)
    for path in kept:
        if size <= LIMIT_BYTES:
            return
        size -= path.stat().st_size
        path.unlink(missing_ok=True)
