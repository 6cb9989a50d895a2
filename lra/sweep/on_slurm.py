"""The SLURM engine. submitit submits orders as arrays of jobs, and requeues a job that reaches its time limit."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from lra.core.errors import UserError, shortened
from lra.core.markup import one_line
from lra.core.workers import python_path
from lra.sweep.engine import Order
from lra.sweep.remote import Performance, for_elsewhere
from lra.sweep.work import Answer
from lra.terminal.arguments import whole

LOOK = 5.0  # seconds between two checks of the jobs; each check reads a file of each job from the shared folder
AT_A_TIME = 256  # jobs of an array that run at a time; submitit's own default
LARGEST = 1000  # jobs of one array; below SLURM's default limit
MINUTES = 240  # minutes that a job may take before it is requeued
REQUEUES = 10_000  # no real limit: every requeued job continues from a snapshot
FOR_SUBMITIT = (signal.SIGUSR1, signal.SIGUSR2)  # signals that announce the time limit
SHARED = ("timeout_min", "mem_gb", "cpus_per_task", "gpus_per_node")
"""Parameters of submitit for every kind of cluster. All others get the prefix slurm_."""
OTHERWISE = {
    "time": "write timeout_min=MINUTES",
    "array_parallelism": "write --jobs NUMBER",
    "nodes": "a run uses one node",
    "ntasks_per_node": "a run is one process",
}
"""Parameters that are refused, and the reasons."""
OF_GPUS = ("gpus_per_node", "gpus_per_task", "gres")


class SlurmTask:
    """The function of a job. Before the time limit submitit calls `checkpoint` in a signal handler, and requeues it."""

    def __init__(self) -> None:
        self._work: Performance | None = None

    def __call__(self, order: Order, threads: int) -> dict[str, Any]:
        """Perform the order. Returns an Answer as plain values."""
        # SLURM may signal every process of a job. Only this one reacts, so its child inherits blocked signals.
        signal.pthread_sigmask(signal.SIG_BLOCK, FOR_SUBMITIT)
        self._work = Performance(order, threads)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FOR_SUBMITIT)
        for number in (signal.SIGTERM, signal.SIGINT):  # from scancel, and from SLURM before it preempts
            signal.signal(number, self._stop)
        return asdict(self._work.answer())

    def checkpoint(self, order: Order, threads: int) -> Any:
        """Save and end. Returns the job's function for its next start."""
        self._stop()
        return import_module("submitit").helpers.DelayedSubmission(SlurmTask(), order, threads)

    def _stop(self, *_: object) -> None:
        if self._work is not None:
            self._work.stop()


class SlurmEngine:
    """An Engine of SLURM jobs. It accepts all orders at once, and SLURM decides when each starts."""

    def __init__(
        self, folder: Path, parameters: Mapping[str, Any], *, jobs: int | None = None, cluster: str = "slurm"
    ) -> None:
        """Prepare submitit.

        Args:
            folder: The folder of submitit's files, which all machines see.
            parameters: The values that `parsed` returns.
            jobs: The most jobs that run at a time; None: AT_A_TIME.
            cluster: None for SLURM, "local" for processes of this machine.

        Raises:
            UserError: There is no submitit, no SLURM, or a parameter is unknown.
        """
        # Jobs inherit it: a folder named tasks in the user's directory must not be imported.
        os.environ |= {"PYTHONPATH": python_path(), "PYTHONSAFEPATH": "1"}
        self._jobs = jobs or AT_A_TIME
        self._threads = parameters["cpus_per_task"]
        self._new: list[Order] = []
        self._running: list[tuple[Order, Any]] = []
        self._looked = -LOOK
        self._executor = _executor(folder, cluster)
        try:
            self._executor.update_parameters(name="lra", slurm_array_parallelism=self._jobs, **parameters)
        except (NameError, ValueError, AssertionError) as error:
            raise UserError(f"--slurm: {str(error).splitlines()[0]}") from error

    @property
    def jobs(self) -> int:
        """The most jobs that run at a time."""
        return self._jobs

    def accepts(self, order: Order) -> bool:
        """Whether the order needs no machine alone."""
        return not order.alone

    def start(self, order: Order) -> None:
        """Put the order into the next array, which `ended` submits."""
        order.log.parent.mkdir(parents=True, exist_ok=True)
        self._new.append(for_elsewhere(order))

    def ended(self, seconds: float) -> list[tuple[Order, Answer]]:
        """The orders whose job has ended."""
        self._submit()
        if time.monotonic() - self._looked < LOOK:
            time.sleep(seconds)
            return []
        self._looked = time.monotonic()
        over = [each for each in self._running if each[1].done()]
        self._running = [each for each in self._running if each not in over]
        return [(order, _answer(job)) for order, job in over]

    def stop(self) -> list[tuple[Order, Answer]]:
        """Cancel every job, so that its run saves, and wait until all have ended."""
        never, self._new = self._new, []
        for _, job in self._running:
            job.cancel(check=False)
        while not all(job.done(force_check=True) for _, job in self._running):
            time.sleep(1.0)
        over, self._running = self._running, []
        told = [(order, _answer(job)) for order, job in over if job.paths.result_pickle.exists()]
        ended = {order.key for order, _ in told}
        silent = [*never, *(order for order, _ in over if order.key not in ended)]
        return [*told, *((order, Answer(state="stopped")) for order in silent)]

    def _submit(self) -> None:
        while self._new:
            part, self._new = self._new[:LARGEST], self._new[LARGEST:]
            try:
                jobs = self._executor.map_array(SlurmTask(), part, [self._threads] * len(part))
            except (OSError, RuntimeError, subprocess.SubprocessError) as error:
                raise UserError(f"SLURM refused the jobs: {shortened(one_line(str(error)))}") from error
            self._running += zip(part, jobs, strict=True)


def parsed(words: Sequence[str], *, cpus: int, gpu: bool) -> dict[str, Any]:
    """Convert words such as partition=gpu to submitit's parameters; add defaults. UserError for other words."""
    found: dict[str, Any] = {"timeout_min": MINUTES, "cpus_per_task": cpus}
    if gpu and not any(word.partition("=")[0] in OF_GPUS for word in words):
        found["gpus_per_node"] = 1
    for word in words:
        name, equals, value = word.partition("=")
        if not (name and equals and value):
            raise UserError(f"--slurm {word}: expected NAME=VALUE, such as partition=gpu")
        if name in OTHERWISE:
            raise UserError(f"--slurm {word}: {OTHERWISE[name]}")
        known = name in SHARED or name.startswith("slurm_")
        found[name if known else f"slurm_{name}"] = _value(value)
    for name in SHARED:
        if not isinstance(found.get(name, 0), int):
            raise UserError(f"--slurm {name}={found[name]}: expected a whole number")
    return found


def _value(text: str) -> int | bool | str:
    number = whole(text)
    return {"true": True, "false": False}.get(text, text) if number is None else number


def _executor(folder: Path, cluster: str) -> Any:
    try:
        submitit = import_module("submitit")
    except ImportError as error:
        raise UserError("--engine slurm needs the package submitit: pip install -e '.[slurm]'") from error
    try:
        return submitit.AutoExecutor(folder.absolute(), cluster, slurm_max_num_timeout=REQUEUES)
    except RuntimeError as error:
        raise UserError("--engine slurm: srun was not found: start the sweep where SLURM is installed") from error


def _answer(job: Any) -> Answer:
    """The answer of a job that has ended. A job without an answer was killed, or its machine was lost."""
    if job.exception() is None:
        return Answer.from_values(job.result())
    return Answer(state="died", why=f"its job {job.job_id} ended ({job.state}; its log: {job.paths.stderr})")
