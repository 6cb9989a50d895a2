"""Everything that needs an NVIDIA GPU, in pieces of a few minutes: `make gpu ARGS="--minutes 9"`, again and again.

In this order: the tests marked `gpu`, the benchmarks, and for each task its data and the `standard` runs. What is done
is read from the results folder alone: records, benchmarks, a run's snapshot, and the report of tests that all passed;
remove one and it is made again. When time is up the running piece is stopped as Ctrl-C stops it; a run goes on from
its snapshot in the next call, anything else begins again. Exit code: 0 all is done, 3 time ran out, 1 something failed,
2 there is no GPU.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

import tasks
from lra import bench_record, checkpoint, record
from lra.arguments import command_of
from lra.backends import Device
from lra.config import Run, UserError, as_dict, resolve, run_id
from lra.environment import ROOT, has_gpu
from lra.loop import SNAPSHOT
from tasks import store

ATTENTIONS = ("elfatt", "softmax")
# Retrieval's released pairs cannot be expected to be here; its twin has two documents as well.
TASKS = ("listops", "text", "image", "pathfinder", "retrieval-aan1818")
FROM_RAW = ("text", "image", "retrieval-aan1818")
WHOLE = 6.0  # minutes that a benchmark may take
POLL, GRACE = 0.2, 60.0  # seconds: between two looks at the clock, and for a piece to stop in good order

DONE, LEFT = "done", "left"
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One command, and how to tell from the results folder whether it is still needed."""

    name: str
    done: Callable[[], bool]
    command: Callable[[], list[str]]
    impossible: Callable[[], str] = lambda: ""
    """Why it cannot be done here; empty where it can."""
    finish: Callable[[], object] = lambda: None
    """What follows a command that succeeded."""
    minutes: float = 0.0
    """What it takes at once, nothing of it being kept; with less left, only a call's first piece is tried."""


def gpu_tests(results: Path) -> Piece:
    """The tests marked `gpu`; their report gets its name only when all have passed."""
    report = results / ".work" / "gpu-tests.xml"
    beside = report.with_suffix(".part")
    return Piece(
        name="make test-gpu",
        done=report.exists,
        command=lambda: ["make", "test-gpu", f"ARGS=--junitxml={shlex.quote(str(beside))}"],
        finish=lambda: beside.replace(report),
    )


def bench(words: list[str], results: Path) -> Piece:
    """One benchmark; it is known by its command line."""
    words = ["bench", *words, *_elsewhere(results)]
    command = shlex.join(["python", "run_lra.py", *words])

    def done() -> bool:
        found = (_loaded(bench_record.load, path) for path in (results / "bench").glob("*.json"))
        return any(each is not None and each.complete and each.command == command for each in found)

    return Piece(name=shlex.join(words), done=done, command=partial(_run_lra, words), minutes=WHOLE)


def data(task: str, preset: str) -> Piece:
    """A task's data; what needs raw files needs LRA_RAW."""
    return Piece(
        name=f"data of {task}",
        done=lambda: _prepared(resolve(task, ATTENTIONS[0], preset=preset)) is not None,
        command=partial(_run_lra, ["data", "prepare", "--task", task, "--preset", preset]),
        impossible=partial(_without_raw, task),
    )


def training(run: Run, device: Device, results: Path) -> Piece:
    """One run, on a device of that kind; its snapshot is gone on with."""
    config = as_dict(run)

    def done() -> bool:
        found = (_loaded(record.load, path) for path in (results / "runs").glob("*.json"))
        return any(
            each is not None and each.config == config and (each.environment["device"] == "cpu") == (device == "cpu")
            for each in found
        )

    def command() -> list[str]:
        words = [*shlex.split(command_of(run))[2:], "--device", device, *_elsewhere(results)]
        ready = _prepared(run)
        identity = None if ready is None else run_id(run, tasks.load(run.task).version, ready.hash)
        unfinished = identity is not None and (checkpoint.folder(results, identity) / SNAPSHOT).exists()
        return _run_lra([*words, *(["--resume"] if unfinished else [])])

    return Piece(
        name=f"{run.preset} run of {run.attn} on {run.task}",
        done=done,
        command=command,
        impossible=lambda: "" if _prepared(run) is not None else _without_raw(run.task),
    )


def plan(results: Path) -> list[Piece]:
    """All pieces, the ones that matter most first."""
    attend = ["--what", "attend", "--attn", "elfatt,flash,softmax", "--device", "gpu"]
    train = ["--what", "train", "--attn", "elfatt,flash,softmax", "--device", "gpu"]
    backends = ("torch", "jax")
    timed = [[*attend, "--head-dim", size, "--backend", name] for name in backends for size in ("32", "64")]
    timed += [[*train, "--backend", name] for name in backends]
    pieces = [gpu_tests(results), *(bench(words, results) for words in timed)]
    for task in TASKS:
        runs = (resolve(task, attn, preset="standard") for attn in ATTENTIONS)
        pieces += [data(task, "standard"), *(training(run, "gpu", results) for run in runs)]
    return pieces


def work(pieces: Iterable[Piece], left: Callable[[], float]) -> int:
    """Do in turn what is not done, while `left` seconds are more than none; print how all of it stands: exit code."""
    found: dict[str, str] = {}
    begun = False
    for piece in pieces:
        if piece.done():
            found[piece.name] = DONE
        elif why := piece.impossible():
            found[piece.name] = f"skipped: {why}"
        elif left() <= (60 * piece.minutes if begun else 0):
            found[piece.name] = LEFT
        else:
            begun = True
            found[piece.name] = _outcome(piece, left)
    print()
    for name, state in found.items():
        print(f"{state:<5} {name}" if state in (DONE, LEFT) else f"{name}: {state}")
    failed = any(state.startswith("failed") for state in found.values())
    return 3 if LEFT in found.values() else int(failed)


def _outcome(piece: Piece, left: Callable[[], float]) -> str:
    command = piece.command()
    print(f"\n{shlex.join(command)}", flush=True)
    code = _exit_code(command, left)
    if code == 0:
        piece.finish()
    if piece.done():
        return DONE
    return LEFT if code is None else f"failed: exit code {code}, nothing in the results folder"


def _exit_code(command: list[str], left: Callable[[], float]) -> int | None:
    """The command's exit code; None where time was up first."""
    child = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        while left() > 0:
            try:
                return child.wait(POLL)
            except subprocess.TimeoutExpired:
                continue
        return None
    finally:  # also after Ctrl-C, which reaches this process alone
        _stop(child)


def _stop(child: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGINT, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, number)
            try:
                child.wait(GRACE)
            except subprocess.TimeoutExpired:
                continue


def _run_lra(words: list[str]) -> list[str]:
    return [sys.executable, str(ROOT / "run_lra.py"), *words]


def _elsewhere(results: Path) -> list[str]:
    return [] if results == ROOT / "results" else ["--results", str(results)]


def _prepared(run: Run) -> store.Prepared | None:
    return store.load(tasks.load(run.task), run.data)


def _without_raw(task: str) -> str:
    missing = task in FROM_RAW and not os.environ.get("LRA_RAW")
    return "its data is made of raw files, name their folder in LRA_RAW" if missing else ""


def _loaded(load: Callable[[Path], T], path: Path) -> T | None:
    try:
        return load(path)
    except UserError:
        return None


def main() -> int:
    """Work through the plan for as long as there is time."""
    parser = argparse.ArgumentParser(prog="make gpu", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so many; without an end else")
    minutes = parser.parse_args().minutes
    if not has_gpu():
        print("make gpu needs an NVIDIA GPU, and nvidia-smi shows none: run it where there is one", file=sys.stderr)
        return 2
    end = time.monotonic() + 60 * minutes
    return work(plan(ROOT / "results"), lambda: end - time.monotonic())


if __name__ == "__main__":
    sys.exit(main())
