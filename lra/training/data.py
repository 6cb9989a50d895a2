"""The actions of the command `data`: prepare, verify, list and show a task's data."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

import tasks
from attention_impls.ranges import shown
from lra.core.errors import UserError
from lra.core.markup import one_line
from lra.terminal.console import MOST, console, duration
from tasks import inspection, limits, store
from tasks.base import SPLITS, Archive, Source
from tasks.download import fetch
from tasks.places import home, raw_folder

LONG = 60  # seconds; a longer preparation is announced with its duration
TRIAL = 2  # seconds after which the duration is estimated


def source(raw: Path | None, processes: int | None) -> Source:
    """The source of raw data: --raw or $LRA_RAW, else the network. Default of `processes`: the usable cores."""
    given = raw or raw_folder()
    if given is not None and not given.exists():
        raise UserError(f"the folder of raw data {given} does not exist: correct --raw or LRA_RAW, or leave it out")
    if processes is not None and processes < 1:
        raise UserError(f"--processes is {shown(processes)}, expected at least 1")
    cores = limits.usable_cores()
    # Each process draws blocks in advance; more processes than cores would only draw blocks that nobody needs.
    return Source(raw=given, processes=min(processes or cores, 2 * cores), fetch=_fetch, note=_tell)


def _tell(line: str) -> None:
    console.print(line)


def _fetch(archive: Archive) -> Path:
    return fetch(archive, console.print)


def prepare(name: str, options: Any, origin: Source) -> store.Prepared:
    """Open a task's data. If it is not prepared, prepare it with a progress bar."""
    task = tasks.load(name)
    ready = store.load(task, options, _tell)
    _tell_unread(name, options, origin.raw, ready)
    if ready is not None:
        return ready
    counts = task.counts(options)
    size = store.bytes_needed(task, options)
    asked = ", ".join(f"{'all' if counts[split] is None else f'{counts[split]:,}'} {split}" for split in SPLITS)
    console.print(
        f"preparing {name} ({task.describe(options)}): {asked}, "
        f"up to {size / 1e6:,.{0 if size > 1e7 else 1}f} MB in {store.folder(task, options)}"
    )
    started = time.monotonic()
    watch = _Watch(None if None in counts.values() else sum(counts.values()))
    told = replace(origin, tell=lambda where: console.print(f"source: {where}"))
    try:
        ready = store.prepare(task, options, told, watch, _tell)
    finally:
        watch.stop()
    total = sum(ready.meta["counts"].values())
    console.print(f"prepared {total:,} examples in {duration(time.monotonic() - started)}")
    return ready


def _tell_unread(name: str, options: Any, raw: Path | None, ready: store.Prepared | None) -> None:
    """Print why --raw is not read. LRA_RAW serves all tasks, so for it nothing is printed."""
    if raw is None or ((everywhere := raw_folder()) and everywhere.absolute() == raw.absolute()):
        return
    if getattr(options, "source", None) == "generated":
        _tell(f"--raw {raw} is not read: {name} is generated; add --data.source official to read the released files")
    elif ready is not None:
        _tell(f"--raw {raw} is not read: the data is prepared already, in {ready.folder}")


class _Watch:
    """A progress bar, and one line with the time of a long preparation, which logs without a bar show too."""

    def __init__(self, total: int | None) -> None:
        self._total, self._done, self._first, self._told = total, 0, 0.0, False
        columns = (
            TextColumn("preparing", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._job = self._bar.add_task("examples", total=total)

    def __call__(self, count: int) -> None:
        if not self._first:  # a download has its own bar, so this one starts with the first examples
            self._first = time.monotonic()
            self._bar.start()
            self._bar.advance(self._job, count)
            return
        self._done += count
        self._bar.advance(self._job, count)
        passed = time.monotonic() - self._first
        if not self._told and passed > TRIAL and self._total:
            self._told = True
            rest = passed / max(self._done, 1) * (self._total - self._done)
            if rest > LONG:
                speed = f"{self._done / passed:,.0f} examples/s"
                console.print(f"this takes about {duration(rest)} ({speed}); --count N prepares fewer")

    def stop(self) -> None:
        """Remove the bar from the screen."""
        self._bar.stop()


def verify(name: str, options: Any) -> None:
    """Check all prepared data of a task and describe it. TaskError names the fault."""
    task, ready = tasks.load(name), _existing(name, options, store.verify)
    _tell(f"{ready.folder}: checksums, counts, ranges and hash {ready.hash[:16]}… are correct")
    for line in inspection.summary(task, ready.splits):
        console.print(f"  {line}")
    for line, accuracy in ready.meta["references"].items():
        console.print(f"  {line}: {accuracy:.1%}")


def print_prepared() -> None:
    """List the data that is prepared on this machine: task, source, size, version and hash."""
    found, faults = store.inventory()
    console.print(f"{len(found)} prepared in {home()}{'' if found else ': run run_lra.py data prepare --task TASK'}")
    for folder, meta in found:
        counts = ", ".join(f"{meta['counts'][split]:,} {split}" for split in SPLITS)
        about = one_line(f" version {meta['version']}, {meta['description']}")
        console.print(Text.assemble("\n", (one_line(meta["task"]), "bold"), about))
        _tell(f"  {counts}; {_size(folder)}; hash {meta['hash'][:16]}…; {one_line(folder.name)}")
        _tell(f"  source: {one_line(meta['origin'], MOST)}")
    for line in faults:
        _tell(f"\n{one_line(line, MOST)}")


def _size(folder: Path) -> str:
    """The size of a folder's readable files in bytes."""
    size = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            size += path.stat().st_size if path.is_file() else 0
    return f"{size / 1e6:,.1f} MB"


def show(name: str, options: Any, picture: Path) -> None:
    """Write a picture of a task's examples. The file name's ending gives the format; default: PNG."""
    picture = _picture(picture)
    ready = _existing(name, options, store.load)
    picture.parent.mkdir(parents=True, exist_ok=True)
    tasks.load(name).picture(options, ready.splits, picture)
    console.print(f"wrote {picture}")


def _picture(path: Path) -> Path:
    """The file for a picture. UserError for a folder, or for a format that Matplotlib cannot write."""
    from matplotlib.backend_bases import FigureCanvasBase

    if path.is_dir() or not path.name:
        raise UserError(
            f"--out {path} is a folder, expected the name of an image file, such as {path / 'examples.png'}"
        )
    path = path if path.suffix else path.with_name(f"{path.name}.png")
    if path.suffix[1:].lower() not in FigureCanvasBase.filetypes or path.is_dir():
        raise UserError(f"--out {path}: expected the name of an image file, such as {path.with_suffix('.png').name}")
    return path


def _existing(name: str, options: Any, load: Callable[..., store.Prepared | None]) -> store.Prepared:
    task = tasks.load(name)
    ready = load(task, options, _tell)
    if ready is None:
        raise UserError(
            f"{name} ({task.describe(options)}) is not prepared, expected it at {store.folder(task, options)}: "
            f"run run_lra.py data prepare --task {name}"
        )
    return ready
