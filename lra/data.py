"""Preparing, checking and showing a task's data."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import tasks
from lra.config import UserError
from lra.screen import console, duration
from tasks import store
from tasks.base import SPLITS, Source

LARGE_BYTES = 10_000_000


def source(raw: Path | None, processes: int | None) -> Source:
    """Where data comes from: --raw or $LRA_RAW, and as many processes as there are cores."""
    given = raw or (Path(os.environ["LRA_RAW"]) if os.environ.get("LRA_RAW") else None)
    if given is not None and not given.exists():
        raise UserError(f"raw data folder {given} does not exist: mend --raw or LRA_RAW, or leave it away")
    return Source(raw=given, processes=processes or os.cpu_count() or 1)


def prepare(name: str, options: Any, origin: Source) -> store.Prepared:
    """Open a task's data, building it with a progress bar where it does not exist."""
    task = tasks.load(name)
    ready = store.load(task, options)
    if ready is not None:
        return ready
    counts = task.counts(options)
    total = sum(counts.values())
    size = store.bytes_needed(task, options)
    console.print(
        f"preparing {name} ({task.describe(options)}): {', '.join(f'{counts[s]:,} {s}' for s in SPLITS)}, "
        f"up to {size / 1e6:,.0f} MB in {store.folder(task, options)}"
    )
    started = time.monotonic()
    bar = (TextColumn("generating"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*bar, console=console, transient=True, disable=not console.is_terminal) as progress:
        job = progress.add_task("examples", total=total)
        ready = store.prepare(task, options, origin, lambda count: progress.advance(job, count))
    console.print(f"prepared {total:,} examples in {duration(time.monotonic() - started)}")
    return ready


def verify(name: str, options: Any) -> None:
    """Check prepared data again; raises UserError naming what is wrong."""
    ready = _existing(name, options)
    wrong = store.verify(tasks.load(name), options, ready)
    if wrong:
        raise UserError(f"{ready.folder}: {'; '.join(wrong)}: delete the folder and prepare it again")
    sizes = ", ".join(f"{len(ready.splits[split]):,} {split}" for split in SPLITS)
    console.print(f"{ready.folder}: {sizes}; counts, ranges and hash {ready.hash[:16]}… hold")
    for line, accuracy in ready.meta["references"].items():
        console.print(f"  {line}: {accuracy:.1%}")


def show(name: str, options: Any, picture: Path) -> None:
    """Write one PNG that shows a task's examples."""
    ready = _existing(name, options)
    picture.parent.mkdir(parents=True, exist_ok=True)
    tasks.load(name).picture(options, ready.splits, picture)
    console.print(f"wrote {picture}")


def _existing(name: str, options: Any) -> store.Prepared:
    task = tasks.load(name)
    ready = store.load(task, options)
    if ready is None:
        raise UserError(
            f"{name} ({task.describe(options)}) is not prepared: nothing at {store.folder(task, options)}; "
            f"run_lra.py data prepare --task {name} makes it"
        )
    return ready
