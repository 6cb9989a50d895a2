"""Processes that stop, and those that are waited for."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable


def stop(seconds: float) -> None:
    """SIGSTOP for this process, and SIGCONT by another one after so many seconds."""
    with subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {os.getpid()}"]):
        os.kill(os.getpid(), signal.SIGSTOP)


def waited_for(found: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Until something is there; the process must not have ended before."""
    deadline = time.monotonic() + 120
    while not found():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
