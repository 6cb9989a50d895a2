"""Where and with what a number was made."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lra import allocator

ROOT = Path(__file__).resolve().parent.parent


def environment() -> dict[str, Any]:
    """The machine and the Python around the framework; a backend adds its own part."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "allocator": allocator.described(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def process_seconds() -> float:
    """How long ago this process was started, in seconds."""
    return time.time() - psutil.Process().create_time()


def git_state() -> dict[str, Any]:
    """The commit of the checkout and whether it was clean; empty outside a checkout."""
    commit = _git("rev-parse", "HEAD")
    if commit is None:
        return {"commit": None, "clean": None}
    changed = _git("status", "--porcelain", "--", ".", ":!results")
    return {"commit": commit, "clean": changed == ""}


def has_gpu() -> bool:
    """Whether an NVIDIA driver answers; loads no framework."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"GPU" in done.stdout


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
