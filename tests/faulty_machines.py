"""Machines that fail a run: a disk that is full from some write on, a process that is killed, an odd environment."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lra.core.environment import ROOT
from lra.terminal.failures import told
from lra.training import record
from lra.training.history import Point
from lra.training.session import train_all
from lra.training.trainer import Place
from tests.small import smoke_run

WRITES = 12  # of a smoke run: from each of them on, the disk is full
KILLS = 8
RUN = ("--task", "listops", "--attn", "linear", "--preset", "smoke", "--device", "cpu", "--count", "64")
LONG = (*RUN, "--train.steps", "400", "--train.evaluate-every", "20", "--train.chunk", "5")
COMMANDS = (
    ("--help",),
    ("list",),
    ("data", "list"),
    ("leaderboard", "--check"),
    ("data", "prepare", *RUN[:2], *RUN[4:6]),
)
ENVIRONMENTS: dict[str, dict[str, str | None]] = {
    "no HOME": {"HOME": None},
    "HOME is a file": {"HOME": "/dev/null"},
    "HOME is /": {"HOME": "/"},
    "LRA_HOME is a file": {"LRA_HOME": "/dev/null/x"},
    "LRA_HOME of nobody": {"LRA_HOME": "~nobody-has-this-name/x"},
    "LRA_RAW of nobody": {"LRA_RAW": "~nobody-has-this-name/x"},
    "LRA_RAW is gone": {"LRA_RAW": "/no such folder [/x]"},
    "ASCII": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII streams": {"PYTHONIOENCODING": "ascii"},
    "a dumb terminal": {"TERM": "dumb", "COLUMNS": "1"},
    "no PATH": {"PATH": ""},
    "a cache for numba that cannot be": {"NUMBA_CACHE_DIR": "/dev/null/x"},
    "a folder for Matplotlib that cannot be": {"MPLCONFIGDIR": "/dev/null/x"},
    "JAX on CUDA": {"JAX_PLATFORMS": "cuda"},
}


def trials(place: Path) -> Iterator[tuple[str, str, str]]:
    """(kind, what was done, what was wrong or "") of every trial."""
    yield from _full_disks(place)
    yield from _killed(place, np.random.default_rng(0))
    yield from _odd(place)


def wrong(code: int, said: str) -> str:
    """What is wrong with how a command ended: a traceback, a warning of Python's, an error without its one line."""
    if "Traceback" in said or "Warning:" in said:
        return said[-300:]
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    return "" if code == 0 or len(lines) == 1 or "╭─" in said else f"exit code {code}: {said[-300:]}"


def _full_disks(place: Path) -> Iterator[tuple[str, str, str]]:
    """No byte goes to the disk from its n-th write on; with room again, the same command gives what it always gives."""
    run = smoke_run("listops", "linear")

    def train(results: Path, *, resume: bool = False) -> int:
        return told(lambda: train_all([run], 1, Place(results=results, device="cpu", resume=resume)))

    train(place / "whole")
    expected = _curves(place / "whole")
    for number, kept in itertools.product(range(WRITES), (True, False)):
        results = place / f"full {number} {kept}"
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(io.StringIO()) as said:
            if not kept:  # the data is made anew, too
                patch.setenv("LRA_HOME", str(results / "home"))
            patch.setattr(os, "fsync", _full_after(number))
            code = train(results)
        fault = wrong(code, said.getvalue())
        if code:
            fault = fault or ("" if str(results) in said.getvalue() else f"no file is named: {said.getvalue()}")
            fault = fault or ("it left a record" if _curves(results) else "")
            train(results, resume=bool(list(results.glob(".work/*/snapshot.safetensors"))))
        what = f"from write {number} on, with data {'made' if kept else 'to make'}"
        yield "a full disk", what, fault or ("" if _curves(results) == expected else "it did not go on")


def _curves(results: Path) -> list[list[Point]]:
    return [record.load(path).curve for path in results.glob("runs/*.json")]


def _full_after(writes: int) -> Callable[[int], None]:
    left, real = [writes], os.fsync

    def fsync(descriptor: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    return fsync


def _killed(place: Path, rng: np.random.Generator) -> Iterator[tuple[str, str, str]]:
    """Killed at some moment and run again, with --resume where there is a snapshot: the record is as of one go."""
    _ran(LONG, place / "in one go")
    for number in range(KILLS):
        results, wait = place / f"killed {number}", float(rng.uniform(0, 2))
        process = _started(LONG, results)
        deadline = time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline and not list(results.glob(".work/*/metrics.csv")):
            time.sleep(0.01)
        time.sleep(wait)
        process.send_signal(signal.SIGKILL if number % 2 else signal.SIGTERM)
        process.communicate()
        snapshot = list(results.glob(".work/*/snapshot.safetensors"))
        fault = "" if list(results.glob("runs/*.json")) else _ran((*LONG, *(["--resume"] if snapshot else [])), results)
        same = _curves(results) == _curves(place / "in one go")
        yield "a kill", f"after {wait:.1f} s of training", fault or ("" if same else "it did not go on")


def _odd(place: Path) -> Iterator[tuple[str, str, str]]:
    for name, changes in ENVIRONMENTS.items():
        for words in COMMANDS:
            env = {key: value for key, value in {**os.environ, **changes}.items() if value is not None}
            yield "an odd environment", f"{name}: {' '.join(words)}", _ran(words, None, env)


def _started(
    words: tuple[str, ...], results: Path | None, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    line = [sys.executable, str(ROOT / "run_lra.py"), *words, *(["--results", str(results)] if results else [])]
    return subprocess.Popen(line, cwd=tempfile.gettempdir(), env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def _ran(words: tuple[str, ...], results: Path | None, env: dict[str, str] | None = None) -> str:
    process = _started(words, results, env)
    try:
        said = process.communicate(timeout=120)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return "it does not end"
    return wrong(process.returncode, said.decode(errors="replace"))
