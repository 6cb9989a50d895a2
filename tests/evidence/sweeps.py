"""Sweeps whose processes are killed at random moments: `python -m tests.evidence.sweeps [RUNS] [KILLS] [SEED]`.

Two sweeps work on one folder of results; workers and sweeps get SIGKILL, and are started again. At the end each run has
to have exactly one record, with the curve of the same run unbroken. Writes results/evidence/sweeps.md.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from lra.core.environment import ROOT, environment, git_state
from lra.sweep import lease, plan
from lra.sweep.plan import Planned
from lra.terminal.console import console
from lra.training import data, record
from lra.training.callbacks import Silent
from lra.training.trainer import Place, train
from tasks.base import Source

# The smallest runs that are still long enough to be killed in.
BLOCK = (
    "sweep:\n  - {task: listops, attn: linear, backend: torch, preset: smoke, seeds: %d, grid: {model.width: 8, "
    "model.depth: 1, train.batch_size: 2, train.chunk: 5, train.steps: 600, train.evaluate_every: 200}}\n"
)
PARENT = (
    "import sys; from lra.sweep import local; local.WORKER = 'tests.evidence.hasty_worker'; "
    "from lra.cli.main import main; sys.exit(main(sys.argv[1:]))"
)
WHOLE = (
    "import sys; from pathlib import Path; from tests.evidence.sweeps import unbroken; "
    "unbroken(Path(sys.argv[1]), Path(sys.argv[2]))"
)
JOBS, SWEEPS = 2, 2
KINDS = ("workers in training", "sweeps", "workers")
SLOWEST = 900.0  # seconds that a campaign may take


@dataclass
class Outcome:
    """What broken sweeps left, beside the unbroken runs."""

    continued: int = 0
    """Times that a run went on from a snapshot."""
    lost: int = 0
    doubled: int = 0
    other: int = 0
    """Records whose curve is not that of the unbroken run."""

    @property
    def held(self) -> bool:
        """Whether each run has one record, and the right one."""
        return not (self.lost or self.doubled or self.other)


@dataclass
class Campaign(Outcome):
    """What was done to the processes too."""

    runs: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    begun: int = 0
    """Sweeps that were started."""


def campaign(folder: Path, runs: int, kills: int, seed: int) -> Campaign:
    """Kill so many processes of sweeps over so many runs, let them finish, and compare with unbroken runs."""
    path, rng, killed, begun = folder / "plan.yaml", random.Random(seed), Counter[str](), 0
    path.write_text(BLOCK % runs, encoding="utf-8")
    whole = unbroken_apart(path, folder / "whole")
    until = time.monotonic() + SLOWEST
    with _sweeps() as sweeps:
        while True:
            assert time.monotonic() < until, f"not finished after {SLOWEST:.0f} s: {killed}"
            if all(each is not None and each.poll() == 0 for each in sweeps):
                break
            for number, each in enumerate(sweeps):
                if each is None or each.poll() not in (None, 0):
                    sweeps[number] = _begin(path, folder / "broken")
                    begun += 1
            time.sleep(rng.uniform(0.05, 0.5))
            living = [each for each in sweeps if each is not None and each.poll() is None]
            kind = KINDS[killed.total() % 3]
            if killed.total() < kills and _kill(kind, rng, living, folder / "broken"):
                killed[kind] += 1
    return Campaign(**vars(compared(whole, folder / "broken")), runs=runs, kills=killed, begun=begun)


def compared(whole: Mapping[str, Any], broken: Path) -> Outcome:
    """The records under `broken` against the unbroken runs' numbers, by the run's id."""
    left = _records(broken)
    logs = (each.read_text(encoding="utf-8") for each in broken.glob(".work/*/sweep.log"))
    return Outcome(
        continued=sum(text.count("resumed at step") for text in logs),
        doubled=len(left) - len({each.run_id for each in left}),
        lost=len(whole.keys() - {each.run_id for each in left}),
        other=sum(numbers(each) != whole.get(each.run_id) for each in left),
    )


def _records(results: Path) -> list[record.Record]:
    return [record.load(each) for each in sorted((results / "runs").iterdir())]


def numbers(each: record.Record) -> tuple[Any, ...]:
    """What a run's breaks may not change."""
    return each.curve, each.first_losses, each.test_accuracy, each.test_accuracy_last, each.best_step


def unbroken_apart(path: Path, results: Path) -> dict[str, Any]:
    """The numbers of a plan's unbroken runs, by id, trained by another process: a test's would check annotations."""
    subprocess.run([sys.executable, "-c", WHOLE, str(path), str(results)], cwd=ROOT, check=True)
    return {each.run_id: numbers(each) for each in _records(results)}


def unbroken(path: Path, results: Path) -> None:
    """Train the runs of a plan one after the other, in this process."""
    console.quiet = True
    for each in plan.load(path):
        assert isinstance(each, Planned)
        assert each.run is not None
        prepared = data.prepare(each.run.task, each.run.data, Source())
        train(each.run, prepared, Place(results=results, device="cpu"), Silent())


@contextmanager
def _sweeps() -> Iterator[list[subprocess.Popen[bytes] | None]]:
    """Places for so many sweeps; whatever still runs at the end is killed."""
    sweeps: list[subprocess.Popen[bytes] | None] = [None] * SWEEPS
    try:
        yield sweeps
    finally:
        for each in sweeps:
            if each is not None and each.poll() is None:
                for process in (*psutil.Process(each.pid).children(recursive=True), each):
                    process.kill()
                each.wait()


def _begin(path: Path, results: Path) -> subprocess.Popen[bytes]:
    words = ["sweep", str(path), "--jobs", str(JOBS), "--device", "cpu", "--no-probe", "--results", str(results)]
    line = [sys.executable, "-c", PARENT, *words]
    return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _kill(kind: str, rng: random.Random, sweeps: list[subprocess.Popen[bytes]], results: Path) -> bool:
    """Kill a process of that kind; False where none is to be had, or nothing is in training."""
    leases = [lease.held(work) for work in results.glob(".work/*")]
    training = [each.pid for each in leases if each and each.step]
    chosen = {
        "workers in training": training,
        "sweeps": [each.pid for each in sweeps],
        "workers": [child.pid for each in sweeps for child in _children(each.pid)],
    }[kind]
    if not training or not chosen:
        return False
    with suppress(ProcessLookupError):
        os.kill(rng.choice(sorted(chosen)), signal.SIGKILL)
        return True
    return False


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children()
    except psutil.NoSuchProcess:
        return []


def page(found: Campaign, seconds: float, seed: int) -> str:
    """The campaign in Markdown."""
    killed = ", ".join(f"{count} {kind}" for kind, count in sorted(found.kills.items()))
    return (
        "# Sweeps that are killed\n\n"
        f"{SWEEPS} sweeps with {JOBS} jobs each work on one folder of results: {found.runs} runs. At random moments "
        "SIGKILL ends a worker or a sweep; a sweep is then started again. Each run has to have exactly one record. Its "
        "curve, first losses and accuracies have to be those of the run that nothing broke, bit for bit. "
        f"{made_by('sweeps', found.runs, found.kills.total(), seed, seconds)}\n\n"
        "| | |\n|---|---:|\n"
        f"| killed | {killed} |\n"
        f"| sweeps started | {found.begun} |\n"
        f"{outcome_rows(found)}"
    )


def made_by(module: str, runs: int, kills: int, seed: int, seconds: float) -> str:
    """What made a page, when and where."""
    commit = git_state()
    version = f"{(commit['commit'] or 'unknown')[:7]}{'' if commit['clean'] else ' with changes'}"
    return (
        f"Made by `python -m tests.evidence.{module} {runs} {kills} {seed}` in {seconds / 60:.0f} minutes on "
        f"{environment()['cpu']}, commit {version}."
    )


def outcome_rows(found: Outcome) -> str:
    """The last rows of a table."""
    return (
        f"| runs continued from a snapshot | {found.continued} times |\n"
        f"| runs without a record | {found.lost} |\n"
        f"| runs with two records | {found.doubled} |\n"
        f"| records that differ from the unbroken run | {found.other} |\n"
    )


def main(runs: int = 20, kills: int = 30, seed: int = 0) -> int:
    """Run the campaign and write the page; the exit code, 1 where it did not hold."""
    console.quiet = True
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lra-sweeps-") as folder:
        found = campaign(Path(folder), runs, kills, seed)
    text = page(found, time.monotonic() - began, seed)
    (ROOT / "results" / "evidence" / "sweeps.md").write_text(text, encoding="utf-8")
    print(text)
    return int(not found.held)


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
