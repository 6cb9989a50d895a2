"""Estimates of a run's time and memory: from similar earlier runs, from benchmarks of its step, or from a probe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import tasks
from lra.bench.record import MEASURED, BenchRecord
from lra.bench.summary import Measured
from lra.core.config import Run, neutral
from lra.core.environment import environment
from lra.core.errors import UserError
from lra.core.tuning import FOLDER
from lra.scores import speeds
from lra.scores.overrides import defaults
from lra.sweep.work import Probe
from lra.training import record
from lra.training.record import Record

FORWARD = 1 / 3  # scoring a batch takes this share of a training step: a backward pass is about two forward passes
LOADING = 5.0  # seconds to load a framework, if that was not measured
PROCESS = 500_000_000  # bytes of a process with a framework, which a benchmark on a CPU does not count
MARGIN = 1.2  # factor by which a run may need more memory than was measured
WORTH = 100  # steps; a shorter run takes less time than its probe


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """The expected time and memory of a run; None if unknown."""

    seconds: float | None = None
    memory: int | None = None
    source: str = ""


UNKNOWN = RunCost()


class Known:
    """Estimates from the records in a folder of results."""

    def __init__(
        self, runs: Sequence[Record], benches: Sequence[BenchRecord], on_gpu: bool, machine: str | None = None
    ) -> None:
        """With `machine`, use only records whose device has this in its name; else prefer those of this machine."""
        self._cpu = environment()["cpu"] if machine is None else None
        self._runs = [
            each
            for each in runs
            if (each.environment["device"] != "cpu") == on_gpu
            and (each.devices or 1, each.accumulate) == (1, 1)  # as every run of a sweep
            and (machine or "") in _device(each.environment)
        ]
        self._benches = [each for each in benches if each.what == "train" and (each.device == "gpu") == on_gpu]
        self._machine, self._on_gpu = machine or "", on_gpu

    @classmethod
    def of(cls, results: Path, on_gpu: bool, machine: str | None = None) -> Known:
        """Read a folder of results, with the runs of searches in it."""
        runs = []
        for path in sorted(each for of in ("runs", f"{FOLDER}/runs") for each in (results / of).glob("[!.]*.json")):
            try:
                runs.append(record.load(path))
            except UserError:  # the leaderboard reports such files
                continue
        return cls(runs, [each for _, each in speeds.records(results)[0]], on_gpu, machine)

    def estimate(self, run: Run) -> RunCost:
        """The estimate for a settled run, from the best source; UNKNOWN without one."""
        return self._from_runs(run) or self._from_benches(run) or UNKNOWN

    def _from_runs(self, run: Run) -> RunCost | None:
        like = [each for each in self._runs if each.steps_per_second and _alike(each, run)]
        here = [each for each in like if self._on_gpu or self._cpu in (None, each.environment.get("cpu"))]
        if not (found := here or like):
            return None
        each_step = median(1 / each.steps_per_second for each in found)
        scoring = median(each.evaluation_seconds / len(each.curve) for each in found)
        start = median(each.first_steps_after or LOADING for each in found)
        evaluations = math.ceil(run.train.steps / run.train.evaluate_every) + 2  # the test split too, at most twice
        return RunCost(
            seconds=start + run.train.steps * each_step + evaluations * scoring,
            memory=int(MARGIN * max(each.peak_memory_bytes for each in found)),
            source=f"{len(found)} earlier run{'s' * (len(found) > 1)}{'' if here else ' on another machine'}",
        )

    def _from_benches(self, run: Run) -> RunCost | None:
        wanted = defaults(run.attn) | asdict(run.options)
        found = [
            Measured(cell=cell)
            for each in self._benches
            for cell in each.cells
            if each.documents == f"{run.task} {run.preset}"
            and cell.status == MEASURED
            and (cell.attn, cell.backend, cell.batch) == (run.attn, run.backend, run.train.batch_size)
            and defaults(cell.attn) | cell.options == wanted
            and (self._on_gpu or self._cpu in (None, each.environment["cpu"]))
            and self._machine in _device(each.environment | each.environment["backends"][cell.backend])
        ]
        if not found:
            return None
        cell = found[-1].cell
        return RunCost(
            seconds=LOADING + steps_in_all(run) * found[-1].step.median,
            memory=int(MARGIN * cell.memory_bytes) + PROCESS if cell.memory_bytes else None,
            source="a benchmark",
        )


def from_probe(run: Run, found: Probe) -> RunCost:
    """The estimate from a probe of the run's first steps."""
    return RunCost(
        seconds=found.first + steps_in_all(run) * found.step, memory=int(MARGIN * found.memory), source="a probe"
    )


def steps_in_all(run: Run) -> float:
    """The run's training steps, plus its evaluations converted to steps."""
    counts = tasks.load(run.task).counts(run.data)
    scored = math.ceil(run.train.steps / run.train.evaluate_every) * (counts["validation"] or 0)
    return run.train.steps + FORWARD * (scored + 2 * (counts["test"] or 0)) / run.train.batch_size


def in_turn(seconds: Sequence[float | None], jobs: int) -> float | None:
    """Seconds for all runs with this many at a time; None if one is unknown."""
    if any(each is None for each in seconds):
        return None
    ends = [0.0] * jobs
    for each in seconds:
        first = ends.index(min(ends))
        ends[first] += each or 0.0
    return max(ends)


def _device(facts: dict[str, Any]) -> str:
    """The name of the GPU, or of the CPU."""
    return facts["device"] if facts["device"] != "cpu" else facts.get("cpu") or "cpu"


def _alike(each: Record, run: Run) -> bool:
    """Whether a record has the same work per step: everything but seed, rates and number of steps."""
    if (each.task, each.attn, each.backend, each.preset) != (run.task, run.attn, run.backend, run.preset):
        return False
    own = asdict(run)
    # Fields that are newer than the record have their neutral value.
    parts = {"data": type(run.data), "options": type(run.options), "model": type(run.model)}
    made = {part: neutral(kind) | each.config[part] for part, kind in parts.items()}
    for values in (made, own):
        values["data"] = {name: value for name, value in values["data"].items() if name != "seed"}
    same_batch = each.config["train"].get("batch_size") == run.train.batch_size
    return same_batch and all(made[part] == own[part] for part in parts)
