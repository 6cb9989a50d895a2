"""The machine, the versions and the commit behind a number."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from lra.core import allocator
from tasks import limits

ROOT = Path(__file__).resolve().parents[2]
CHECKOUT = (ROOT / "run_lra.py").is_file()
"""Whether this is a clone of the repository, not an installed package."""
DATA = ROOT if CHECKOUT else ROOT / "lra" / "data"
"""The folder of configs, results/published.yaml and results/claims.yaml."""
RESULTS = ROOT / "results" if CHECKOUT else Path("results")
"""The default folder of results. An installed package writes into the current directory."""
PACKAGE = "long-range-arena-suite"
GIT_SECONDS = 10


def environment() -> dict[str, Any]:
    """Facts about the machine and Python. A backend adds the facts about its framework."""
    return {
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "usable_cores": limits.usable_cores(),
        "usable_memory_bytes": limits.usable_memory(),
        "system": platform.platform(),
        "allocator": allocator.described(),
        "threads": os.environ.get("OMP_NUM_THREADS"),
    }


def free_memory() -> int:
    """Free memory in bytes, without swapping, within the limits of this process's control groups."""
    within = (limit - used for limit, used in limits.memory_limits())
    return max(min([psutil.virtual_memory().available, *within]), 0)


def process_seconds() -> float:
    """The age of this process in seconds."""
    return time.time() - psutil.Process().create_time()


def git_state() -> dict[str, Any]:
    """The checkout's commit and whether it is clean. If git cannot tell, both are None and `why` has the reason."""
    if not CHECKOUT:
        return {"commit": None, "clean": None, "why": f"an installed package, version {version(PACKAGE)}"}
    try:
        commit, changed = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--", ".", ":!results")
    except _GitSilent as silent:
        return {"commit": None, "clean": None, "why": str(silent)}
    return {"commit": commit, "clean": changed == ""}


def has_gpu() -> bool:
    """Whether an NVIDIA driver responds. Loads no framework."""
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and b"GPU" in done.stdout


class _GitSilent(Exception):
    """Git gave no answer; the text says why."""


def _git(*words: str) -> str:
    """Git's output for this checkout. Its owner may be another user, as is common in containers."""
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, timeout=GIT_SECONDS, check=False)
    except FileNotFoundError as error:
        raise _GitSilent("git is not installed") from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _GitSilent(f"git does not respond: {error}") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or f"exit code {done.returncode}"
        raise _GitSilent(said.splitlines()[0].removeprefix("fatal: "))
    return done.stdout.decode(errors="replace").strip()


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
