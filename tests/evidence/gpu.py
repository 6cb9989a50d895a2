"""Everything that needs an NVIDIA GPU, in pieces of a few minutes: `make gpu ARGS="--minutes 9"`, again and again.

In this order: the tests marked `gpu`, PyTorch's benchmarks, the data and the `standard` runs of the shorter tasks,
benchmarks at the sizes of models that people run, JAX's benchmarks, the longer tasks, and S4's own recipe, which takes
days. What is done is read from the results folder alone: records, benchmarks, a run's snapshot, and the reports of
tests that all passed (its .work holds the last two, so save it too where the machine is given back); remove one and it
is made again. When time is up the running piece is stopped as Ctrl-C stops it; a run goes on from its snapshot in the
next call, anything else begins again. Where the packages are there without a virtual environment, `python -m
tests.evidence.gpu` is the same as `make gpu`. Exit code: 0 all is done, 3 time ran out, 1 something failed, 2 there is
no GPU.
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
from lra.bench import record as bench_record
from lra.core.config import Run, as_dict, resolve, settled
from lra.core.environment import ROOT, has_gpu
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.identity import run_id
from lra.terminal.flags import command_of
from lra.training import checkpoint, record
from lra.training.loop import SNAPSHOT
from tasks import store

ATTENTIONS = ("elfatt", "softmax")
SHORT = ("listops", "text", "image")
# Retrieval's released pairs cannot be expected to be here; its twin has two documents as well.
LONG = ("pathfinder", "retrieval-aan1818")
RECIPES = ("image", "text", "listops", "retrieval", "pathfinder", "pathx")  # from hours of a GPU to two days
FROM_RAW = ("text", "image", "retrieval-aan1818")
LENGTHS = (1024, 2048, 4096, 8192, 16384)
TOKENS = 2**20  # of a timed batch: heads and blocks enough for the largest GPU
TESTS, WHOLE = 3.0, 6.0  # minutes that a file of tests and a benchmark may take
POLL, GRACE = 0.2, 60.0  # seconds: between two looks at the clock, and for a piece to stop in good order

DONE, LEFT = "done", "left"
FOLDER = ROOT / "tests"
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


def gpu_tests(path: Path, results: Path) -> Piece:
    """The tests marked `gpu` of one file, several at a time; their report gets its name only when all have passed."""
    report = results / ".work" / "gpu-tests" / f"{path.stem}.xml"
    beside = report.with_suffix(".part")
    # As in the Makefile; and JAX must not take the whole GPU, which it shares with PyTorch and with other processes.
    settings = ["JAX_PLATFORMS=cuda,cpu", "XLA_FLAGS=", "TRITON_INTERPRET=0", "XLA_PYTHON_CLIENT_PREALLOCATE=false"]
    processes = str(max(1, min(8, (os.cpu_count() or 1) // 2)))
    words = ["-q", "-m", "gpu", "--numprocesses", processes, f"--junitxml={beside}", str(path)]
    return Piece(
        name=f"tests of {path.name} on a GPU",
        done=report.exists,
        command=lambda: ["env", *settings, sys.executable, "-m", "pytest", *words],
        finish=lambda: beside.replace(report),
        minutes=TESTS,
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
        name=f"data of {task}" + ("" if preset == "standard" else f", {preset}"),
        done=lambda: _prepared(resolve(task, ATTENTIONS[0], preset=preset)) is not None,
        command=partial(_run_lra, ["data", "prepare", "--task", task, "--preset", preset]),
        impossible=partial(_without_raw, task),
    )


def training(run: Run, device: Device, results: Path) -> Piece:
    """One run, on a device of that kind; its snapshot is continued."""
    run = settled(run, on_gpu=device == "gpu")
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
        identity = None if ready is None else run_id(run, ready.hash)
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
    return [
        *(gpu_tests(path, results) for path in sorted(FOLDER.glob("test_*.py")) if "mark.gpu" in path.read_text()),
        *_timed("torch", "elfatt,flash,softmax", results),
        *_trained(SHORT, results),
        *_shaped(results),
        # Without softmax: XLA keeps the memory of its scores, and the processes of a benchmark share the GPU.
        *_timed("jax", "elfatt,flash", results),
        *_trained(LONG, results),
        *_recipes(results),
    ]


def _recipes(results: Path) -> list[Piece]:
    """S4's own recipe for each of its tasks, the shortest first."""
    runs = [resolve(task, "s4", preset="s4") for task in RECIPES]
    return [piece for run in runs for piece in (data(run.task, "s4"), training(run, "gpu", results))]


def _shaped(results: Path) -> list[Piece]:
    """Benchmarks of the mechanism alone at the sizes of models that people run, those of equal heads together."""
    attns = "elfatt,softmax,flash,efficient,linear,agent,focused_linear"
    families = ("vit-s-224,vit-s-512,vit-s-1024,vit-s-2048", "swin-t-224", "sd-512,sd-1024")
    words = ["--what", "attend", "--attn", attns, "--backend", "torch", "--device", "gpu"]
    return [bench([*words, "--shape", names], results) for names in families]


def _timed(backend: str, attns: str, results: Path) -> list[Piece]:
    """Benchmarks of the mechanism alone, by width of a head, and of standard's training step with its own batch."""
    lengths = ",".join(str(n) for n in LENGTHS)
    batches = ",".join(str(TOKENS // n) for n in LENGTHS)
    words = ["--attn", attns, "--backend", backend, "--device", "gpu", "--lengths", lengths]
    alone = [["--what", "attend", *words, "--batch", batches, "--head-dim", size] for size in ("32", "64")]
    return [bench(each, results) for each in (*alone, ["--what", "train", *words, "--batch", "32"])]


def _trained(names: Iterable[str], results: Path) -> list[Piece]:
    """The data and the `standard` runs of these tasks."""
    pieces = []
    for task in names:
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
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell's background job: its children would ignore it too
        signal.signal(signal.SIGINT, signal.default_int_handler)
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
    parser.add_argument("--only", default="", help="only pieces whose name has this in it")
    given = parser.parse_args()
    if not has_gpu():
        print("make gpu needs an NVIDIA GPU, and nvidia-smi shows none: run it where there is one", file=sys.stderr)
        return 2
    end = time.monotonic() + 60 * given.minutes
    pieces = [piece for piece in plan(ROOT / "results") if given.only in piece.name]
    if not pieces:
        parser.error(f"--only {given.only}: no piece has this in its name")
    return work(pieces, lambda: end - time.monotonic())


if __name__ == "__main__":
    sys.exit(main())
