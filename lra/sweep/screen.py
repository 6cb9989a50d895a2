"""What a sweep shows: the plan with its estimates, how it stands, and what came of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from rich.live import Live
from rich.markup import escape
from rich.table import Table

from lra.sweep import lease
from lra.sweep.estimate import in_turn
from lra.sweep.items import Item
from lra.sweep.runner import Sweep
from lra.terminal.console import console, duration, errors
from lra.training import record

ScoredSplit = Literal["test", "validation"]
SHOWN = 20  # rows of runs that the live table has at most


def plan_table(items: Sequence[Item]) -> Table:
    """A row for each cell of the plan: its runs, what is left, and what each is expected to take."""
    table = Table(title="the plan", title_justify="left")
    table.add_column("run", overflow="fold")
    for heading in ("runs", "done", "left", "each", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("known from")
    cells: dict[str, list[Item]] = {}
    for item in items:
        cells.setdefault(item.title.rpartition(" · seed ")[0] or item.title, []).append(item)
    for title, own in cells.items():
        done = sum(item.status == "done" for item in own)
        left = [item for item in own if not item.finished]
        first = (left or own)[0]
        impossible = next((item.why for item in own if item.status == "failed"), "")
        counts = [str(len(own)), str(done), str(len(left))]
        if not left:
            table.add_row(escape(title), *counts, "", "", escape(f"impossible: {impossible}" if impossible else ""))
            continue
        source = first.estimate.source or "nothing yet"
        table.add_row(escape(title), *counts, *expected(first), escape(source))
    return table


def expected(item: Item) -> tuple[str, str]:
    """Time and memory of one item."""
    seconds, memory = item.estimate.seconds, item.estimate.memory
    return "?" if seconds is None else duration(seconds), "?" if memory is None else f"{memory / 1e9:,.1f} GB"


def plan_line(items: Sequence[Item], jobs: int) -> str:
    """How much is left, and how long it takes as far as is known."""
    counts = Counter(item.status for item in items)
    left = [item for item in items if not item.finished]
    known = [item.estimate.seconds for item in left if item.estimate.seconds is not None]
    parts = [f"{len(items)} in the plan", f"{counts['done']} done", f"{len(left)} left"]
    if counts["failed"]:
        parts.append(f"{counts['failed']} impossible")
    text = " · ".join(parts)
    if not left:
        return text
    time = f"about {duration(in_turn(known, jobs) or 0)}" if known else "nobody knows how long"
    rest = f", and {len(left) - len(known)} of which nothing is known" if known and len(known) < len(left) else ""
    return f"{text}: {time} with {jobs} at a time{rest}"


class SweepScreen:
    """How a sweep stands: a live table on a terminal, a line for each event in a log."""

    def __init__(self, items: Sequence[Item], jobs: int, split: ScoredSplit = "test") -> None:
        """`split`: whose accuracy is told of what is done; a search looks at validation alone."""
        self._items, self._jobs = items, jobs
        self._split: ScoredSplit = split
        self._live = Live(console=console, transient=True, refresh_per_second=2) if console.is_terminal else None
        self._of = len(items)

    def __enter__(self) -> SweepScreen:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def tell(self, item: Item) -> None:
        """Say what has happened to an item, in a line that stays."""
        ended = sum(each.finished for each in self._items)
        line = f"[{ended} of {self._of}] {item.title}: {_happened(item, self._split)}"
        if item.status != "running" or self._live is None:
            console.print(line)

    def show(self, sweep: Sweep) -> None:
        """Draw the live table anew."""
        if self._live:
            self._live.update(self.table(sweep))

    def table(self, sweep: Sweep) -> Table:
        """How many wait, run, are done and failed, the time left, and a row for each that runs."""
        counts = Counter(item.status for item in self._items)
        running = [number for number, item in enumerate(self._items) if item.status == "running"]
        rows, rests = [], []
        for number in running:
            item = self._items[number]
            cells, rest = _progress(item, sweep.since(number))
            rows.append((escape(item.title), *cells))
            rests.append(rest)
        waiting = [each.estimate.seconds for each in self._items if each.status in ("waiting", "held")]
        whole = in_turn([*rests, *waiting], self._jobs)
        left = "?" if whole is None else duration(whole)
        states = ", ".join(f"{counts[name]} {name}" for name in ("waiting", "running", "held", "done", "failed"))
        table = Table(title=f"{states} · {left} left", title_justify="left")
        table.add_column("running", overflow="ellipsis", no_wrap=True)
        for heading in ("step", "since", "left"):
            table.add_column(heading, justify="right", no_wrap=True)
        for row in rows[:SHOWN]:
            table.add_row(*row)
        return table


def _progress(item: Item, since: float) -> tuple[tuple[str, str, str], float | None]:
    """Step, time since the start and time left of a run, in words; and seconds left."""
    held = lease.held(item.work) if item.work else None
    if item.run is None or held is None:
        return ("", duration(since), ""), _rest(item.estimate.seconds, since)
    steps = item.run.train.steps
    rest = _rest(item.estimate.seconds, since)
    if rest is not None and held.step:
        rest = min(rest, (item.estimate.seconds or 0) * (1 - held.step / steps))
    return (f"{held.step:,}/{steps:,}", duration(since), "?" if rest is None else duration(rest)), rest


def _rest(whole: float | None, since: float) -> float | None:
    return None if whole is None else max(whole - since, 0.0)


def _happened(item: Item, split: ScoredSplit) -> str:
    if item.status == "running":
        return "begins" if not item.deaths else f"continues after its process died ({item.deaths})"
    if item.status == "held":
        return f"waits for {item.why}"
    if item.status == "failed":
        return f"failed: {item.why}"
    if item.status == "waiting":
        return "saved; it waits" if not item.deaths else "its process died; it is started again"
    took = "" if item.took is None else f" in {duration(item.took)}"
    return f"{_scored(item.record, split)}{took}"


def _scored(path: Path | None, split: ScoredSplit) -> str:
    if path is None:
        return "done"
    found = record.load(path)
    accuracy = found.test_accuracy if split == "test" else found.validation_accuracy
    return f"{100 * accuracy:.1f} % on the {split} split"


def closing(items: Sequence[Item], results: Path, again: str) -> None:
    """What came of it: failures with their logs, and the command that continues."""
    counts = Counter(item.status for item in items)
    left = len(items) - counts["done"] - counts["failed"]
    new = sum(item.status == "done" and not item.before for item in items)
    console.print(f"{counts['done']} of {len(items)} done, {new} of them now; {counts['failed']} failed; {left} left")
    for item in items:
        if item.status == "failed":
            path = item.log(results)
            log = f" (log: {path})" if path.exists() else ""
            errors.print(f"failed: {item.title}: {item.why}{log}")
    if left:
        errors.print(f"the same command continues: {again}")
