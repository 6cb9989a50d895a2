"""Everything a run shows: its first line, its progress, its closing table."""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import numpy as np
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from lra.core.config import Run, spelled
from lra.core.presets import Milestone, milestones, preset_values
from lra.model.sharing import ALONE as ONE_DEVICE
from lra.model.sharing import Sharing
from lra.terminal.console import LINE_EVERY_SECONDS, console, duration, in_lines
from lra.training.disturbance import ALONE
from lra.training.history import History
from lra.training.record import CLEAR, Record, standard_error

ESTIMATE_AFTER_SECONDS = 3.0
RECENT_SECONDS = 60.0


def first_line(run: Run, description: str, why_preset: str, seeds: int = 1, sharing: Sharing = ONE_DEVICE) -> str:
    """What the run is about to do, in one line."""
    which = f"seed {run.seed}" if seeds == 1 else f"seeds {run.seed}–{run.seed + seeds - 1} in one program"
    attn = spelled(run.attn, run.options)
    return (
        f"{run.task} ({description}) · {attn} · {run.backend} · preset {run.preset}{why_preset} · "
        f"{which} · {run.train.steps:,} steps of {run.train.batch_size}{sharing.told}"
    )


class TrainingScreen:
    """The Callback of a person: a live line on a terminal, plain lines in a log."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._live: Progress | None = None
        self._began = self._line_at = 0.0
        self._speed = RecentSpeed()
        self._estimated = False
        self._ahead = milestones_of(run)

    def starts(self, history: History, facts: dict[str, Any]) -> None:
        threads = f", {facts['framework_threads']} threads" if facts["framework_threads"] else ""
        many = f"{len(facts['device_names'])} × " if "device_names" in facts else ""
        console.print(
            f"{facts['framework']} on {many}{facts['device']}{threads} · {facts['precision']} · "
            f"{facts['parameters']:,} parameters"
        )
        if history.step:
            console.print(f"resumed at step {history.step:,} of {self._run.train.steps:,}")
        self._ahead = [each for each in self._ahead if each.step > history.step]
        for each in self._ahead:
            console.print(f"{_known(each)}: step {each.step:,}")
        self._began = self._line_at = time.monotonic()
        self._speed = RecentSpeed(history)
        if console.is_terminal:
            state = TextColumn("{task.fields[state]}", markup=False)
            columns = (TextColumn("training", markup=False), BarColumn(bar_width=24), state)
            self._live = Progress(*columns, console=console, transient=True)
            self._live.add_task("training", total=self._run.train.steps, completed=history.step, state="compiling …")
            self._live.start()

    def advances(self, history: History, losses: np.ndarray) -> None:
        self._speed.notes(history)
        state = self._state(history)
        now = time.monotonic()
        waited = now - self._began > ESTIMATE_AFTER_SECONDS and history.timed_steps > 0
        if waited and not self._estimated and history.step < self._run.train.steps:
            self._estimated = True
            self._say(f"about {duration(self._left(history))} to go")
        if self._live:
            self._live.update(self._live.task_ids[0], completed=history.step, state=state)
        elif now - self._line_at > LINE_EVERY_SECONDS:
            self._line_at = now
            console.print(state)

    def evaluates(self, history: History) -> None:
        while self._ahead and self._ahead[0].step <= history.step:
            self._say(f"{_known(self._ahead.pop(0))}; this run has {history.best_accuracy:.1%}")
        if not self._live:
            self._line_at = time.monotonic()
            console.print(self._state(history))

    def ends(self) -> None:
        if self._live:
            self._live.stop()

    def _state(self, history: History) -> str:
        loss = history.mean_loss if history.count else history.curve[-1][1]
        validation = (
            f" · validation {history.curve[-1][4]:.1%} (best {history.best_accuracy:.1%})" if history.curve else ""
        )
        speed = self._speed.steps_per_second(history) * self._run.train.batch_size
        return (
            f"step {history.step:,}/{self._run.train.steps:,} · loss {loss:.4f}{validation} · "
            f"{speed:,.0f} samples/s · {duration(self._left(history))} left"
        )

    def _left(self, history: History) -> float:
        """Seconds to go at the recent speed."""
        return self._speed.seconds(history, self._run.train.steps - history.step)

    def _say(self, text: str) -> None:
        (self._live.console if self._live else console).print(text)


def milestones_of(run: Run) -> list[Milestone]:
    """What the preset's authors have reached, if the run has its data and its batches."""
    found = milestones(run.task, run.preset)
    if not found:
        return []
    usual = preset_values(run.task, run.preset)
    same = run.data == type(run.data)(**usual["data"]) and run.train.batch_size == usual["train"]["batch_size"]
    return list(found) if same else []


def _known(milestone: Milestone) -> str:
    return f"S4 has {milestone.accuracy:.0%} here by epoch {milestone.epoch}"


class RecentSpeed:
    """How fast a run has trained of late, which may differ much from its mean: machines are shared, and get warm."""

    def __init__(self, history: History | None = None) -> None:
        self._start = history.seconds if history else 0.0  # an earlier process may have trained before
        self._points: deque[tuple[float, int, float]] = deque()

    def notes(self, history: History) -> None:
        """Steps were taken; what lies further back than RECENT_SECONDS is forgotten, but one point."""
        self._points.append((history.elapsed, history.timed_steps, history.seconds))
        while len(self._points) > 2 and history.elapsed - self._points[1][0] >= RECENT_SECONDS:
            self._points.popleft()

    def steps_per_second(self, history: History) -> float:
        """Over about the last RECENT_SECONDS; over the whole run where they have no two calls."""
        if len(self._points) > 1:
            (_, before, started), (_, steps, seconds) = self._points[0], self._points[-1]
            if seconds > started:
                return (steps - before) / (seconds - started)
        return history.steps_per_second

    def seconds(self, history: History, steps: int) -> float:
        """How long more steps take at that speed, with as much beside them (evaluations, data) as there was so far."""
        speed, trained = self.steps_per_second(history), history.seconds - self._start
        beside = history.elapsed / trained if trained > 0 else 1.0
        return steps / speed * beside if speed else 0.0


def result_table(record: Record) -> Table:
    """The outcome of one run beside what guessing scores on the same examples."""
    table = Table(
        title=escape(f"{record.task} ({record.data}) · {record.attn} · {record.backend} · {record.preset}"),
        title_justify="left",
    )
    table.add_column("on the test split")
    table.add_column("accuracy %", justify="right")
    table.add_column("± s.e.", justify="right")
    table.add_column("")
    rows = [
        (f"{record.attn}, best on validation", record.test_accuracy, f"step {record.best_step:,}"),
        (f"{record.attn}, last step", record.test_accuracy_last, ""),
        *((name, accuracy, "no learning") for name, accuracy in record.references.items()),
    ]
    for name, accuracy, remark in rows:
        table.add_row(escape(name), *_percent(accuracy, record.test_examples), remark)
    return table


def comparison_table(records: list[Record]) -> Table:
    """One row a mechanism, in the order they were trained, above what needs no learning on the same examples."""
    first = records[0]
    by_attn: dict[str, list[Record]] = {}
    for record in records:
        by_attn.setdefault(spelled(record.attn, record.options), []).append(record)
    seeds = max(len(own) for own in by_attn.values())
    table = Table(title=escape(f"{first.task} ({first.data}) · {first.backend} · {first.preset}"), title_justify="left")
    table.add_column("attention")
    for heading in ("test %", "± std" if seeds > 1 else "± s.e.", "parameters", "seconds", "samples/s", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    for attn, own in by_attn.items():
        table.add_row(
            f"{in_lines(attn)}{', at chance' if all(record.at_chance for record in own) else ''}{_on(own)}",
            *_mean_and_deviation(own),
            f"{own[0].parameters:,}",
            f"{seconds:,.1f}" if (seconds := sum(record.seconds for record in own)) < 1000 else f"{seconds:,.0f}",
            f"{np.median([record.samples_per_second for record in own]):,.0f}",
            f"{max(record.peak_memory_bytes for record in own) / 1e6:,.0f}",
        )
    table.add_section()
    for name, accuracy in first.references.items():
        table.add_row(escape(name), *_percent(accuracy, first.test_examples), *[""] * 4)
    return table


def seeds_table(records: list[Record]) -> Table:
    """One row a seed and their mean, above what needs no learning on the same examples."""
    first = records[0]
    table = Table(
        title=escape(f"{first.task} ({first.data}) · {first.attn} · {first.backend} · {first.preset}"),
        title_justify="left",
    )
    table.add_column("on the test split")
    for heading in ("accuracy %", "±", "samples/s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for record in records:
        remark = (", at chance" if record.at_chance else "") + _on([record])
        shown = _percent(record.test_accuracy, record.test_examples)
        table.add_row(f"seed {record.seed}{remark}", *shown, f"{record.samples_per_second:,.0f}")
    if len(records) > 1:
        table.add_section()
        table.add_row(f"mean ± std of {len(records)} seeds", *_mean_and_deviation(records), "")
    table.add_section()
    for name, accuracy in first.references.items():
        table.add_row(escape(name), *_percent(accuracy, first.test_examples), "")
    return table


def _mean_and_deviation(records: list[Record]) -> tuple[str, str]:
    """Over seeds; of a single one its standard error."""
    accuracies = [record.test_accuracy for record in records]
    if len(records) == 1:
        return _percent(accuracies[0], records[0].test_examples)
    return f"{100 * np.mean(accuracies):.1f}", f"{100 * np.std(accuracies, ddof=1):.1f}"


def _percent(accuracy: float, examples: int) -> tuple[str, str]:
    return f"{100 * accuracy:.1f}", f"{100 * standard_error(accuracy, examples):.1f}"


def result_lines(record: Record) -> list[str]:
    """The figures below the table."""
    lines = [
        f"one seed, {record.test_examples:,} test examples: {verdict(record)}",
        f"{record.steps_per_second:,.1f} steps/s · {record.samples_per_second:,.0f} samples/s{_on([record])} · "
        f"{duration(record.seconds)} of training · peak memory {record.peak_memory_bytes / 1e6:,.0f} MB · "
        f"{record.parameters:,} parameters",
    ]
    if record.first_steps_after is not None:
        lines.append(f"from the start to the end of the first steps: {record.first_steps_after:.1f} s")
    lines += untimed([record])
    if why := record.git.get("why"):
        lines.append(f"the record has no commit: {why}")
    if record.preset in ("smoke", "quick"):
        lines.append(f"preset {record.preset}: {record.data}; shows whether it learns, ranks nothing")
    return lines


def _on(records: list[Record]) -> str:
    """What speed and memory are of, where that is not one device."""
    counts = sorted({record.devices or 1 for record in records})
    return "" if counts == [1] else f", on {' and '.join(map(str, counts))} devices"


def untimed(records: list[Record]) -> list[str]:
    """A line for each of these records whose times are no timing."""
    which = [f"seed {each.seed} of {each.attn}: " if len(records) > 1 else "" for each in records]
    return [
        f"{name}these times are no timing: {each.timing}"
        for name, each in zip(which, records, strict=True)
        if each.timing not in (None, ALONE)
    ]


def verdict(record: Record) -> str:
    """How far the accuracy stands from what needs no learning, in standard errors of that line."""
    rule, best = max(record.references.items(), key=lambda item: item[1])
    error = standard_error(best, record.test_examples)
    above = (record.test_accuracy - best) / error if error else 0.0  # of a rule that is always right, or never
    if record.at_chance:
        return f"at chance ({100 * record.references['chance']:.1f} %)"
    if above < CLEAR:
        return f"not clearly above {rule} ({100 * best:.1f} %), a rule without learning"
    return f"{above:.1f} standard errors above {rule} ({100 * best:.1f} %), the best rule without learning"
