"""Prepared data on disk: built beside and renamed into place, locked, hashed, memory-mapped.

A folder holds one choice of a task's data: `<home>/<task>-v<version>-<digest of the options>/` with meta.json and,
for each split, tokens.bin (flat), lengths.npy, labels.npy, one .npy for each of the extras, and examples.npy where
example i is not document i. Opening compares checksums and maps the files; only the offsets are computed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tasks.base import SPLITS, Source, Split, Task, TaskError
from tasks.locks import held
from tasks.places import home
from tasks.store import description
from tasks.store.description import LAYOUT
from tasks.store.integrity import Tell, checksums, compare, damaged, flush, sync
from tasks.store.opening import open_splits, problems
from tasks.store.writer import SplitWriter

BUILDING = ".building"  # the end of the name of a folder that is not whole yet
Progress = Callable[[int], None]  # called with the number of examples that have just been written


def _quiet(line: str) -> None:
    """Nobody is told."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data ready for use: its folder, what meta.json says of it, and the memory-mapped splits."""

    folder: Path
    meta: Mapping[str, Any]
    splits: Mapping[str, Split]

    @property
    def hash(self) -> str:
        """SHA-256 over every split's tokens, offsets, examples, labels and extras."""
        return self.meta["hash"]


def folder(task: Task, options: Any) -> Path:
    """The folder of this choice of data, whether it exists or not."""
    text = json.dumps({"layout": LAYOUT, "version": task.version, **asdict(options)}, sort_keys=True, default=str)
    return home() / f"{task.name}-v{task.version}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def load(task: Task, options: Any, tell: Tell = _quiet, *, every: bool = False) -> Prepared | None:
    """Open what was prepared earlier, or None. Damage raises TaskError that names the file and what to do.

    `tell` gets a line about what was compared with checksums and how long that took. All of it is compared the first
    time, whenever a file has changed, and if `every` is true; else as much as takes half a second.
    """
    place = folder(task, options)
    if not os.path.lexists(place):
        return None
    meta = description.read(place)
    summed = "files" in meta
    if summed:
        compare(place, meta, tell, every)
    elif not every:
        tell(
            f"{place} is not verifiable, it was prepared before there were checksums: "
            "`data verify` adds them, or delete the folder and run again"
        )
    splits = open_splits(place, task)
    wrong = _contradictions(task, options, meta, splits) + problems(task, options, splits, tokens=every or not summed)
    if wrong:
        raise damaged(place, "; ".join(wrong), place)
    return Prepared(folder=place, meta=meta, splits=splits)


def prepare(
    task: Task, options: Any, source: Source, progress: Progress = lambda n: None, tell: Tell = _quiet
) -> Prepared:
    """Open the data, building it first where it does not exist. Safe against a second process doing the same."""
    ready = load(task, options, tell)
    if ready is not None:
        return ready
    place = folder(task, options)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise TaskError(f"no data can be kept in {place.parent} ({why}): set LRA_HOME to a folder of yours") from None
    with held(Path(f"{place}.lock"), tell) as alive:
        if not os.path.lexists(place):
            _require_possible(task, options, place.parent)
            _build(task, options, source, place, _both(alive, progress))
    ready = load(task, options, tell)
    assert ready is not None
    return ready


def verify(task: Task, options: Any, tell: Tell = _quiet) -> Prepared | None:
    """Open what was prepared earlier with all of it compared, re-ranged and re-hashed, or None; TaskError as `load`.

    A folder from before there were checksums gets them if its content hash holds.
    """
    ready = load(task, options, tell, every=True)
    if ready is None:
        return None
    found = content_hash(ready.splits)
    if found != ready.hash:
        fault = f"content hash is {found[:16]}…, recorded {ready.hash[:16]}…"
        raise damaged(ready.folder, fault, ready.folder)
    return ready if "files" in ready.meta else _with_checksums(task, options, ready, tell)


def inventory() -> tuple[list[tuple[Path, Mapping[str, Any]]], list[str]]:
    """Every prepared folder with what its meta.json says, by name; and what is wrong with those that are damaged."""
    found, faults = [], []
    for path in sorted(home().glob("*/meta.json")):
        if path.parent.suffix == BUILDING:
            continue
        try:
            found.append((path.parent, description.read(path.parent)))
        except TaskError as error:
            faults.append(str(error))
    return found, faults


def bytes_needed(task: Task, options: Any) -> int:
    """An upper bound on the size of the prepared tokens, in bytes."""
    return task.size(task, options)


def content_hash(splits: Mapping[str, Split]) -> str:
    """SHA-256 over all arrays of all splits in a fixed order."""
    digest = hashlib.sha256()
    for name in SPLITS:
        split = splits[name]
        extras = [split.extras[key] for key in sorted(split.extras)]
        for array in (split.tokens, split.offsets, split.examples, split.labels, *extras):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _require_possible(task: Task, options: Any, parent: Path) -> None:
    task.check(options)
    counts = {split: count for split, count in task.counts(options).items() if count is not None}
    if min(counts.values(), default=1) < 1:
        asked = ", ".join(f"{count:,} {split}" for split, count in counts.items())
        raise TaskError(f"{task.name} was asked for {asked} examples: every split needs at least one")
    need, free = bytes_needed(task, options), shutil.disk_usage(parent).free
    if need > free:
        raise TaskError(
            f"preparing {task.name} needs up to {need / 1e6:,.0f} MB but {parent} has {free / 1e6:,.0f} MB free: "
            "set LRA_HOME to a larger disk or ask for fewer examples (--data.train N)"
        )


def _both(alive: Callable[[], None], progress: Progress) -> Progress:
    """Progress that is a sign of life too."""

    def tell(count: int) -> None:
        alive()
        progress(count)

    return tell


def _build(task: Task, options: Any, source: Source, place: Path, progress: Progress) -> None:
    building = place.with_name(place.name + BUILDING)
    shutil.rmtree(building, ignore_errors=True)  # left by a process that was killed; we hold the lock
    started, origin = time.time(), ""

    def tell(where: str) -> None:
        nonlocal origin
        origin = where
        source.tell(where)

    try:
        writers = {split: SplitWriter(building / split, task) for split in SPLITS}
        for block in task.build(options, replace(source, tell=tell)):
            writers[block.split].add(block)
            progress(len(block.labels))
        for writer in writers.values():
            writer.finish()
        splits = open_splits(building, task)
        wrong = problems(task, options, splits, tokens=True)
        if wrong:
            raise TaskError(f"{task.name} was built wrong: {'; '.join(wrong)}")
        meta = {"origin": origin, "hash": content_hash(splits), **_facts(task, options, splits)}
        meta |= {"seconds": round(time.time() - started, 2), "files": checksums(building)}
        description.write(building, meta)
        flush(building)
        building.rename(place)
        sync(place.parent)
    except OSError as error:
        if error.filename is None:  # of a disk that is full only the number is told
            error.filename = str(building)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _facts(task: Task, options: Any, splits: Mapping[str, Split]) -> dict[str, Any]:
    """What meta.json says that follows from the options and the examples."""
    return {
        **_names(task, options),
        "description": task.describe(options),
        "counts": {split: len(splits[split]) for split in SPLITS},
        "references": {line: float(accuracy) for line, accuracy in task.references(options, splits).items()},
    }


def _names(task: Task, options: Any) -> dict[str, Any]:
    """What meta.json says that the folder's name stands for, as JSON gives it back."""
    names = {"layout": LAYOUT, "task": task.name, "version": task.version, "dtype": task.dtype.str}
    return names | {"options": json.loads(json.dumps(asdict(options)))}


def _contradictions(task: Task, options: Any, meta: Mapping[str, Any], splits: Mapping[str, Split]) -> list[str]:
    """Where meta.json says another thing than the folder's name and its examples."""
    expected = {**_names(task, options), "counts": {split: len(splits[split]) for split in SPLITS}}
    return [
        f"meta.json has {key} {meta[key]}, expected {value}" for key, value in expected.items() if meta[key] != value
    ]


def _with_checksums(task: Task, options: Any, ready: Prepared, tell: Tell) -> Prepared:
    """The same data, its meta.json with checksums and with all that can be computed again computed again."""
    meta = {**ready.meta, **_facts(task, options, ready.splits), "files": checksums(ready.folder)}
    description.write(ready.folder, meta)
    tell(f"{ready.folder} was prepared before there were checksums: its content hash holds, so it has got them now")
    return replace(ready, meta=description.read(ready.folder))
