"""The output of a sweep: the plan with its estimates, its progress, and its outcome."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from rich.live import Live
from rich.table import Table

from lra.sweep import lease
from lra.sweep.estimate import in_turn
from lra.sweep.items import Item
from lra.sweep.runner import Sweep
from lra.terminal.console import console, duration, errors, in_lines, new_table
from lra.training import record

ScoredSplit = Literal["test", "validation"]
SHOWN = 20  # the most rows of runs in the live table


def plan_table(items: Sequence[Item]) -> Table:
    """A row for each cell of the plan: its runs, how many are left, and the estimate of each."""
    made = new_table("the plan", names=("run",), figures=("done", "each", "memory"), texts=("known from",))
    reasons: dict[str, int] = {}
    cells: dict[str, list[Item]] = {}
    for item in items:
        cells.setdefault(item.title.rpartition(" · seed ")[0] or item.title, []).append(item)
    for title, own in cells.items():
        done = sum(item.status == "done" for item in own)
        left = [item for item in own if not item.finished]
        first = (left or own)[0]
        impossible = [item.why for item in own if item.status == "failed"]
        reasons |= {why: reasons.get(why, 0) + impossible.count(why) for why in impossible}
        count = f"{done} of {len(own)}"
        if not left:
            made.add_row(in_lines(title), count, "", "", "impossible" if impossible else "")
            continue
        source = first.estimate.source or "nothing yet"
        made.add_row(in_lines(title), count, *expected(first), source)
    made.caption = "\n".join(f"{number:,} impossible: {why}" for why, number in reasons.items()) or None
    return made


def expected(item: Item) -> tuple[str, str]:
    """The expected time and memory of one item."""
    seconds, memory = item.estimate.seconds, item.estimate.memory
    return "?" if seconds is None else duration(seconds), "?" if memory is None else f"{memory / 1e9:,.1f} GB"


def plan_line(items: Sequence[Item], jobs: int) -> str:
    """The number of items that are left, and the time for those with an estimate."""
    counts = Counter(item.status for item in items)
    left = [item for item in items if not item.finished]
    known = [item.estimate.seconds for item in left if item.estimate.seconds is not None]
    parts = [f"{len(items)} in the plan", f"{counts['done']} done", f"{len(left)} left"]
    if counts["failed"]:
        parts.append(f"{counts['failed']} impossible")
    text = " · ".join(parts)
    if not left:
        return text
    time = f"about {duration(in_turn(known, jobs) or 0)}" if known else "time unknown"
    rest = f", and {len(left) - len(known)} of unknown time" if known and len(known) < len(left) else ""
    return f"{text}: {time} with {jobs} at a time{rest}"


class SweepScreen:
    """The progress of a sweep: a live table on a terminal, a line for each event in a log."""

    def __init__(self, items: Sequence[Item], jobs: int, split: ScoredSplit = "test") -> None:
        """Show items. `split` is the one whose accuracy is shown; a search uses validation only."""
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
        """Print an item's event in a line that stays."""
        ended = sum(each.finished for each in self._items)
        line = f"[{ended} of {self._of}] {item.title}: {_happened(item, self._split)}"
        if item.status != "running" or self._live is None:
            console.print(line)

    def show(self, sweep: Sweep) -> None:
        """Update the live table."""
        if self._live:
            self._live.update(self.table(sweep))

    def table(self, sweep: Sweep) -> Table:
        """The numbers of items by state, the time left, and a row for each running item."""
        counts = Counter(item.status for item in self._items)
        running = [number for number, item in enumerate(self._items) if item.status == "running"]
        rows, rests = [], []
        for number in running:
            item = self._items[number]
            cells, rest = _progress(item, sweep.since(number))
            rows.append((in_lines(item.title), *cells))
            rests.append(rest)
        waiting = [each.estimate.seconds for each in self._items if each.status in ("waiting", "held")]
        whole = in_turn([*rests, *waiting], self._jobs)
        left = "?" if whole is None else duration(whole)
        states = ", ".join(f"{counts[name]} {name}" for name in ("waiting", "running", "held", "done", "failed"))
        made = new_table(f"{states} · {left} left", names=("running",), figures=("step", "since", "left"))
        for row in rows[:SHOWN]:
            made.add_row(*row)
        return made


def _progress(item: Item, since: float) -> tuple[tuple[str, str, str], float | None]:
    """Step, elapsed time and time left of a run, as text; and the seconds left."""
    held = None
    with suppress(OSError):  # the run's own process reports a folder that cannot be read
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
        return "starts" if not item.deaths else f"continues after its process died ({item.deaths})"
    if item.status == "held":
        return f"waits for {item.why}"
    if item.status == "failed":
        return f"failed: {item.why}"
    if item.status == "waiting":
        return "saved; it waits" if not item.deaths else "its process died; it starts again"
    took = "" if item.took is None else f" in {duration(item.took)}"
    note = f", {item.why}" if item.why else ""
    return f"{_scored(item.record, split)}{note}{took}"


def _scored(path: Path | None, split: ScoredSplit) -> str:
    if path is None:
        return "done"
    found = record.load(path)
    accuracy = found.test_accuracy if split == "test" else found.validation_accuracy
    return f"{100 * accuracy:.1f} % on the {split} split"


def closing(items: Sequence[Item], results: Path, again: str) -> None:
    """Print the outcome: failures with their logs, and the command that continues."""
    counts = Counter(item.status for item in items)
    left = len(items) - counts["done"] - counts["failed"]
    new = sum(item.status == "done" and not item.before for item in items)
    console.print(f"{counts['done']} of {len(items)} done, {new} of them now; {counts['failed']} failed; {left} left")
    for item in items:
        if item.status == "failed":
            path = item.log(results)
            log = f" (log: {path})" if os.path.exists(path) else ""
            errors.print(f"failed: {item.title}: {item.why}{log}")
    if left:
        errors.print(f"the same command continues: {again}")
