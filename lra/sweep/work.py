"""The work on one run of a sweep, on any machine: claim it, start or continue it, record it once."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import dacite
import numpy as np

import tasks
from attention_impls.base import AttentionError
from lra.core.environment import ROOT
from lra.core.errors import UserError, is_out_of_memory, of_file
from lra.core.identity import run_id
from lra.core.markup import one_line
from lra.sweep import benched
from lra.sweep.lease import Held, Lease, Lost, claimed, held
from lra.terminal.console import console, errors
from lra.training import checkpoint, data, record, snapshot
from lra.training.callbacks import Several, Silent
from lra.training.history import History
from lra.training.loop import Diverged, Interrupted
from lra.training.screen import TrainingScreen, first_line
from lra.training.session import Job
from lra.training.trainer import AlreadyTraining, first_steps, train
from tasks.base import TaskError

State = Literal["done", "failed", "stopped", "held", "died"]
PROBED = 2  # steps of a probe: the first compiles, the second is timed


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The end of an order."""

    state: State
    """`done`: it has a record. `failed`: it cannot have one. `stopped`: it was asked to end, and saved. `held`: another
    process works on it. `died`: its process ended without an answer."""
    why: str = ""
    record: str = ""

    @classmethod
    def from_values(cls, values: Any) -> Answer:
        """The inverse of `asdict`."""
        return dacite.from_dict(cls, values)


@dataclass(frozen=True, kw_only=True)
class Probe:
    """The time and memory of a few steps of a run."""

    first: float
    """Seconds from the start of the process to the end of the first step."""
    step: float
    """Seconds of a later step."""
    memory: int
    """Peak bytes."""


class _Beating(Silent):
    """A Callback that writes the run's step to its lease, and ends a run that another process took over."""

    def __init__(self, lease: Held) -> None:
        self._lease = lease

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        self._lease.step = history.step

    def advances(self, history: History, losses: np.ndarray) -> None:
        self._lease.step = history.step
        self._lease.require()


def perform(job: Job, alive: Callable[[], object] = lambda: None) -> Answer:
    """Train or continue the one run of a job, unless it has a record or another process holds it or takes it over.

    While the run is claimed, another thread calls `alive` every few seconds.
    """
    [run], place = job.runs, replace(job.place, resume=True, fresh=False, several=True)
    prepared = data.prepare(run.task, run.data, data.source(place.raw, place.processes))
    identity = run_id(run, prepared.hash)
    work = checkpoint.folder(place.results, identity)
    console.print(first_line(run, tasks.load(run.task).describe(run.data), ""))
    with claimed(work, alive) as lease:
        if isinstance(lease, Lease):
            return Answer(state="held", why=lease.holder)
        if path := record.find(place.results, run, identity):
            snapshot.remove(work)  # killed between the record and the removal
            return Answer(state="done", record=str(path))
        try:
            _, path = train(run, prepared, place, Several(TrainingScreen(run), _Beating(lease)))
        except AlreadyTraining as error:
            return Answer(state="held", why=str(error))
        except Lost:
            taker = held(work)
            return Answer(state="held", why=taker.holder if taker else "another process")
        except Interrupted as stop:
            return Answer(state="stopped", why=str(stop))
        return Answer(state="done", record=str(path))


def probe(job: Job) -> Probe:
    """Take the first steps of a job's run; nothing is recorded. Raises the errors of a run."""
    [run] = job.runs
    with tempfile.TemporaryDirectory(prefix="lra-probe-") as folder:
        place = replace(job.place, results=Path(folder), tensorboard=None, resume=False)
        prepared = data.prepare(run.task, run.data, data.source(place.raw, place.processes))
        first, step, memory = first_steps(run, prepared, place, PROBED)
    return Probe(first=first, step=step, memory=memory)


def benchmark(words: Sequence[str], results: Path) -> Answer:
    """Run `bench` with these flags in its own process. With a complete record it is done, whatever cells failed."""
    code = "import sys; from lra.cli.main import main; sys.exit(main(sys.argv[1:]))"
    line = [sys.executable, "-P", "-c", code, "bench", *words, *elsewhere(results)]
    child = subprocess.Popen(line, start_new_session=True)
    try:
        ended = child.wait()
    finally:
        if child.poll() is None:
            child.terminate()
            child.wait()
    if ended == 0:
        return Answer(state="done")
    if benched.command(words) in benched.complete(results):
        return Answer(state="done", why=f"its record is complete, but bench ended with exit code {ended}")
    return Answer(state="failed", why=f"bench ended with exit code {ended}")


def elsewhere(results: Path) -> list[str]:
    """The flag for the folder of results, unless it is the default."""
    return [] if results.absolute() == ROOT / "results" else ["--results", str(results)]


def attempted(action: Callable[[], Answer]) -> Answer:
    """The action's answer. Every error becomes an answer, except a request to end the process."""
    try:
        return action()
    except (UserError, TaskError, AttentionError, Diverged) as error:
        return _failed(str(error))
    except OSError as error:
        return _failed(of_file(error))
    except Exception as error:  # no error of a run may end the sweep
        traceback.print_exc()
        if is_out_of_memory(error):
            return _failed(f"not enough memory: {error or 'nothing is left'}: take a smaller model, batch or length")
        return _failed(f"{type(error).__name__}: {error}")


def _failed(why: str) -> Answer:
    errors.print(f"error: {why}")
    return Answer(state="failed", why=one_line(why))


def values_of(answer: Answer | Probe) -> dict[str, Any]:
    """Plain values, for another process."""
    return asdict(answer)
