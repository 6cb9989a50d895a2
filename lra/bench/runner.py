"""The main loop of a benchmark: worker processes stay alive and take samples in turn.

In every round each cell takes one sample, in a random order. So drifts (clocks, heat, other users of the machine)
affect all cells alike. A ratio is taken between two samples of the same round.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from lra.bench import presets, shapes
from lra.bench import record as bench_record
from lra.bench.plan import BenchCell, Plan, as_values
from lra.bench.record import FAILED, MEASURED, MODELS, OUT_OF_MEMORY, SCHEMA, STOPPED, BenchRecord, Status, Timing
from lra.bench.screen import BenchScreen
from lra.core.environment import environment, git_state
from lra.core.files import require_writable
from lra.core.workers import Child, how_ended
from lra.training.disturbance import Disturbance, Meter

ALIVE = 24  # processes at a time, without the ceilings; more cells are timed a few lengths at a time


class _Process:
    """The process that times one cell, and its answers."""

    def __init__(self, cell: BenchCell) -> None:
        self.cell = cell
        self.status: Status = STOPPED
        self.why = "stopped before it was timed"
        self.said: dict[str, Any] = {}
        self.samples: list[float] = []
        self.calls: list[int] = []
        self.stopped = 0.0
        self._child: Child | None = None

    def prepare(self, known: dict[str, float] | None = None) -> None:
        """Start the process and prepare the cell. A known parity is not checked again."""
        self._child = Child("lra.bench.worker", visible=False)
        self._take(self._ask({"cell": as_values(self.cell), "parity": known}))

    def sample(self) -> None:
        """Take one sample."""
        self._take(self._ask({}))

    def end(self) -> None:
        """End the process; its answers are kept."""
        if self._child is not None:
            self._child.kill()
            self._child = None

    def timing(self) -> Timing:
        """The results of this cell so far."""
        said, cell = self.said, self.cell
        stopped = self.status == MEASURED and not self.samples
        return Timing(
            label=cell.label,
            attn=cell.attn,
            options=cell.options,
            backend=cell.backend,
            length=cell.length,
            batch=cell.batch,
            steps=cell.chunk,
            status=STOPPED if stopped else self.status,
            why="stopped before a sample was taken" if stopped else self.why,
            parity=said.get("parity", {}),
            first_seconds=said.get("first_seconds"),
            samples=list(self.samples) if self.status == MEASURED else [],
            calls=list(self.calls) if self.status == MEASURED else [],
            memory_bytes=said.get("memory_bytes"),
            flop=said.get("flop"),
            bytes=said.get("bytes"),
            shape=cell.shape,
        )

    def _take(self, answer: dict[str, Any]) -> None:
        if "seconds" in answer:
            self.samples.append(answer["seconds"])
            self.calls.append(answer["calls"])
            self.stopped += answer["stopped"]
            return
        self.status, self.why = answer["status"], answer.get("why", "")
        self.said |= answer
        if self.status != MEASURED:
            self.end()

    def _ask(self, order: dict[str, Any]) -> dict[str, Any]:
        assert self._child is not None, "prepare comes first"
        answer = self._child.ask(order)
        return self._died(self._child) if answer is None else answer

    def _died(self, child: Child) -> dict[str, Any]:
        """The answer for a process that ended without one: out of memory, or another reason."""
        code, told = child.end(), child.last_words()
        last = " ".join(told[-1].split())[:200] if told else "it printed nothing"
        starved = code == -signal.SIGKILL or any("bad_alloc" in line for line in told)
        why = f"its process ended ({how_ended(code)}): {last}"
        return {"status": OUT_OF_MEMORY if starved else FAILED, "why": why}


@dataclass(kw_only=True)
class Bench:
    """A running benchmark. `keep` is called after each round with the record so far."""

    plan: Plan
    command: str
    screen: BenchScreen
    keep: Callable[[BenchRecord], object]
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    processes: list[_Process] = field(default_factory=list)
    ceilings: list[_Process] = field(default_factory=list)
    complete: bool = False

    def __post_init__(self) -> None:
        self.processes = [_Process(cell) for cell in self.plan.cells]
        self.ceilings = [_Process(cell) for cell in self.plan.ceilings]
        self._parities: dict[tuple[str, str, str], dict[str, float]] = {}
        self._around, self._git = environment(), git_state()
        self._meter = Meter(lambda: sum(process.stopped for process in (*self.processes, *self.ceilings)))
        self._disturbance = Disturbance()

    def run(self) -> None:
        """Time all cells. On KeyboardInterrupt all processes are ended, and it is raised again."""
        by_cell = {id(process.cell): process for process in self.processes}
        groups = self.plan.groups(ALIVE)
        self.screen.starts(len(self.processes), len(groups), len(self.ceilings), self.plan.samples)
        try:
            self._prepare(self.ceilings)
            for cells in groups:
                group = [by_cell[id(cell)] for cell in cells]
                self._prepare(group)
                for number in range(self.plan.samples):
                    self._round(group, number)
                    self.keep(self.record())
                for process in group:
                    process.end()
            self.complete = True
        finally:
            self.screen.ends()
            for process in (*self.processes, *self.ceilings):
                process.end()

    def record(self) -> BenchRecord:
        """The record so far."""
        self._disturbance += self._meter.take()
        plan, cell = self.plan, self.plan.cells[0]
        said = {each.cell.backend: each.said["environment"] for each in self.processes if "environment" in each.said}
        return BenchRecord(
            schema=SCHEMA,
            started=self.started.isoformat(timespec="seconds"),
            complete=self.complete,
            what=plan.what,
            device=plan.device,
            dtype=plan.dtype,
            heads=cell.heads,
            head_dim=cell.head_dim,
            dropout=cell.dropout,
            seed=plan.seed,
            cells=[process.timing() for process in self.processes],
            ceilings=[process.timing() for process in self.ceilings],
            compare=[list(pair) for pair in plan.compare],
            environment=self._around | {"timing": self._disturbance.words(), "backends": said},
            git=self._git,
            command=self.command,
            documents=f"{cell.task} {cell.preset}" if cell.preset else "",
            encoder=shapes.told(cell.shape) if cell.kind in MODELS else "",
        )

    def _prepare(self, processes: list[_Process]) -> None:
        for process in processes:
            self.screen.prepares(process.cell)
            cell = process.cell
            mechanism = (cell.label, cell.attn, cell.backend)  # one check serves every length
            process.prepare(self._parities.get(mechanism))
            if process.said.get("parity"):
                self._parities[mechanism] = process.said["parity"]
            self.screen.prepared(process.timing())

    def _round(self, group: list[_Process], number: int) -> None:
        """Take one sample of each cell. Cells of one length follow one another, so that pairs are close in time."""
        rng = np.random.default_rng([self.plan.seed, number])
        lengths = rng.permutation(sorted({process.cell.length for process in group}))
        shuffled = [group[i] for i in rng.permutation(len(group))]
        ordered = [process for length in lengths for process in shuffled if process.cell.length == length]
        for process in (*self.ceilings, *ordered):
            if process.status == MEASURED:
                process.sample()
            self.screen.sampled(process.timing(), number)


def stem(record: BenchRecord) -> str:
    """The name of a record's files: its conditions and its start."""
    backends = "+".join(dict.fromkeys(cell.backend for cell in record.cells))
    began = datetime.fromisoformat(record.started).strftime("%Y%m%dT%H%M%SZ")
    return f"{record.what}-{backends}-{record.device}-{record.dtype}-{began}"


class _File:
    """Keeps the record of a benchmark under a unique name, which its first state gets."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None

    def keep(self, record: BenchRecord) -> Path:
        """Write the current record. Returns its path."""
        if self._path is None:
            self._path = bench_record.save_new(record, self._folder / f"{stem(record)}.json")
        else:
            bench_record.save(record, self._path)
        return self._path


def run_bench(plan: Plan, results: Path, command: str) -> tuple[BenchRecord, Path, bool]:
    """Time the plan and keep its record up to date under results/bench.

    Returns:
        The record, its path, and whether the user stopped the benchmark.

    Raises:
        KeyboardInterrupt: It was stopped before the first sample.
    """
    require_writable(results / "bench", "free some space, or name another folder with --results")
    if plan.cells[0].preset:
        presets.prepare(plan.cells[0])  # here, once, where its progress is visible
    file = _File(results / "bench")
    bench = Bench(plan=plan, command=command, screen=BenchScreen(), keep=file.keep)
    stopped = False
    try:
        bench.run()
    except KeyboardInterrupt:
        stopped = True
    record = bench.record()
    if stopped and not any(cell.samples for cell in record.cells):
        raise KeyboardInterrupt
    return record, file.keep(record), stopped
