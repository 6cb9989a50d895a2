"""A real stop of the process that runs the tests."""

from __future__ import annotations

import os
import signal
import subprocess


def stop(seconds: float) -> None:
    """SIGSTOP for this process, and SIGCONT by another one after so many seconds."""
    with subprocess.Popen(["sh", "-c", f"sleep {seconds}; kill -CONT {os.getpid()}"]):
        os.kill(os.getpid(), signal.SIGSTOP)
