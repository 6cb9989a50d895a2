"""The command `cost`: the cost of a plan on one H100, on eight, and on a cluster of CPUs, from measured records."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from annotated_types import Interval

import attention_impls
from attention_impls.ranges import problems
from lra.core.config import Run, spelled
from lra.core.environment import DATA, RESULTS
from lra.core.errors import UserError
from lra.core.files import require_writable, write_atomically
from lra.sweep import plan
from lra.sweep.estimate import Known, in_turn
from lra.sweep.plan import Planned
from lra.terminal.arguments import Where
from lra.terminal.console import console

DESCRIPTION = (
    "Compute the device hours of a plan from measured steps, and write results/COST.md. For steps that were not "
    "measured, the page has the command that measures them."
)
BOARD = DATA / "configs" / "sweeps" / "board.yaml"
FILE = "COST.md"
GPU = "H100"


@dataclass(frozen=True, kw_only=True)
class CostFlags:
    """The arguments of the command."""

    plan: tyro.conf.Positional[Path] = BOARD
    """The YAML file of the plan."""
    machines: Annotated[int, Interval(ge=1, le=100_000)] = 100
    """Number of machines in the cluster of CPUs, each like the measured one."""
    results: Where = RESULTS
    """The folder whose records are read, and that gets the page."""


@dataclass(frozen=True, kw_only=True)
class Device:
    """A kind of device, and the number of devices."""

    name: str
    on_gpu: bool
    machine: str
    count: int


@dataclass(frozen=True, kw_only=True)
class TaskCost:
    """The runs of one task on one kind of device."""

    task: str
    runs: int
    seconds: tuple[float, ...]
    """Seconds of the runs whose cell was measured."""
    missing: tuple[str, ...]
    """Commands that measure the other cells."""


def cost(flags: CostFlags) -> int:
    """Run the command. Returns the exit code."""
    for problem in problems(flags):
        raise UserError(f"cost: {problem}")
    require_writable(flags.results, "name another folder with --results")
    planned = [each for each in plan.load(flags.plan) if isinstance(each, Planned)]
    path = flags.results / FILE
    write_atomically(page(planned, flags.plan.name, flags.results, flags.machines).encode(), path)
    console.print(path.read_text(encoding="utf-8"))
    console.print(f"wrote {path}")
    return 0


def page(planned: Sequence[Planned], name: str, results: Path, machines: int) -> str:
    """The page in Markdown."""
    devices = (
        Device(name=f"one {GPU}", on_gpu=True, machine=GPU, count=1),
        Device(name=f"eight {GPU}", on_gpu=True, machine=GPU, count=8),
        Device(name=f"{machines} CPU machines", on_gpu=False, machine="", count=machines),
    )
    costs = {each.name: by_task(planned, Known.of(results, each.on_gpu, each.machine), each) for each in devices}
    rows = [_row(each, costs[each.name]) for each in devices]
    parts = [
        f"# What {name} costs",
        f"The plan has {len(planned):,} runs. `python run_lra.py cost` writes this page from records: earlier runs, "
        "and benchmarks of a preset's step. Scoring a batch counts as a third of a training step. The hours are those "
        "of the measured runs; the others are not estimated. A CPU machine has two cores, as in the records.",
        "| devices | measured | device hours of these | time of these |\n|---|---:|---:|---:|\n" + "\n".join(rows),
        *(_section(each.name, costs[each.name]) for each in devices if each.count != 8),
    ]
    return "\n\n".join(parts) + "\n"


def by_task(planned: Sequence[Planned], known: Known, device: Device) -> list[TaskCost]:
    """The runs of each task, in the plan's order."""
    tasks = list(dict.fromkeys(each.run.task for each in planned if each.run))
    return [_of_task(task, planned, known, device) for task in tasks]


def _of_task(task: str, planned: Sequence[Planned], known: Known, device: Device) -> TaskCost:
    runs = [each.run for each in planned if each.run and each.run.task == task]
    cells = {_cell(run): run for run in runs}
    taken = {key: known.estimate(run).seconds for key, run in cells.items()}
    unknown = [key for key, seconds in taken.items() if seconds is None]
    commands = [_bench(task, *each, device) for each in _together(unknown)]
    measured = (taken[_cell(run)] for run in runs)
    seconds = tuple(each for each in measured if each is not None)
    return TaskCost(task=task, runs=len(runs), seconds=seconds, missing=tuple(commands))


def _together(unknown: Sequence[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """Mechanisms, frameworks and preset of each benchmark that measures exactly these cells."""
    attns: dict[tuple[str, str], list[str]] = {}
    for attn, backend, preset in unknown:
        attns.setdefault((backend, preset), []).append(attn)
    backends: dict[tuple[str, str], list[str]] = {}
    for (backend, preset), own in attns.items():
        backends.setdefault((",".join(own), preset), []).append(backend)
    return [(own, ",".join(each), preset) for (own, preset), each in backends.items()]


def _bench(task: str, attns: str, backends: str, preset: str, device: Device) -> str:
    attns = "all" if attns == ",".join(attention_impls.names()) else attns
    words = f"--what train --as {preset} --task {task} --attn {attns} --backend {backends}"
    return f"python run_lra.py bench {words} --device {'gpu' if device.on_gpu else 'cpu'}"


def _cell(run: Run) -> tuple[str, str, str]:
    return spelled(run.attn, run.options), run.backend, run.preset


def _row(device: Device, costs: Sequence[TaskCost]) -> str:
    seconds = [each for of_task in costs for each in of_task.seconds]
    runs = sum(each.runs for each in costs)
    if not seconds:
        return f"| {device.name} | 0 of {runs:,} runs | not measured | not measured |"
    together = in_turn(seconds, device.count) or 0.0
    return f"| {device.name} | {len(seconds):,} of {runs:,} runs | {_hours(sum(seconds))} | {_hours(together)} |"


def _section(name: str, costs: Sequence[TaskCost]) -> str:
    rows = [
        f"| {each.task} | {len(each.seconds):,} of {each.runs:,} | "
        f"{_hours(sum(each.seconds)) if each.seconds else 'not measured'} | "
        f"{_hours(sum(each.seconds) / len(each.seconds)) if each.seconds else 'not measured'} |"
        for each in costs
    ]
    commands = [f"    {line}" for each in costs for line in each.missing]
    table = "| task | runs measured | device hours | hours a run |\n|---|---:|---:|---:|\n" + "\n".join(rows)
    missing = "Commands that measure the rest:\n\n" + "\n".join(commands) if commands else ""
    return f"## By task on {name}\n\n{table}" + (f"\n\n{missing}" if missing else "")


def _hours(seconds: float) -> str:
    hours = seconds / 3600
    return f"{hours:,.0f} h" if hours >= 100 else f"{hours:,.1f} h" if hours >= 1 else f"{60 * hours:,.1f} min"
