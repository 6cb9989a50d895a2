"""Prepared data on disk: built in a temporary folder and renamed, locked, hashed, memory-mapped.

A folder has the data of a task for one set of options: `<home>/<task>-v<version>-<digest of the options>/`. It has
meta.json. Each split has tokens.bin (flat), lengths.npy, labels.npy, and an .npy file for each of the extras. If
example i is not document i, it also has examples.npy. Opening compares checksums and maps the files; only offsets are
computed.
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

BUILDING = ".building"  # the ending of the name of an incomplete folder
Progress = Callable[[int], None]  # called with the number of examples that have just been written


def _quiet(line: str) -> None:
    """Ignore messages."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Data that is ready for use: its folder, the content of meta.json, and the memory-mapped splits."""

    folder: Path
    meta: Mapping[str, Any]
    splits: Mapping[str, Split]

    @property
    def hash(self) -> str:
        """SHA-256 over every split's tokens, offsets, examples, labels and extras."""
        return self.meta["hash"]


def folder(task: Task, options: Any) -> Path:
    """The folder of a task's data with these options. It need not exist."""
    text = json.dumps({"layout": LAYOUT, "version": task.version, **asdict(options)}, sort_keys=True, default=str)
    return home() / f"{task.name}-v{task.version}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def load(task: Task, options: Any, tell: Tell = _quiet, *, every: bool = False) -> Prepared | None:
    """Open data that was prepared earlier; None if there is none. TaskError names a damaged file and what to do.

    `tell` gets a line about the comparison of checksums. Everything is compared the first time, after a change of a
    file, and if `every` is true; otherwise as much as half a second allows.
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
            f"{place} has no checksums, since an older version prepared it: "
            "run `data verify`, which adds them, or delete the folder and run again"
        )
    splits = open_splits(place, task)
    wrong = _contradictions(task, options, meta, splits) + problems(task, options, splits, tokens=every or not summed)
    if wrong:
        raise damaged(place, "; ".join(wrong), place)
    return Prepared(folder=place, meta=meta, splits=splits)


def prepare(
    task: Task, options: Any, source: Source, progress: Progress = lambda n: None, tell: Tell = _quiet
) -> Prepared:
    """Open the data; build it first if it does not exist. Safe against a second process that does the same."""
    ready = load(task, options, tell)
    if ready is not None:
        return ready
    place = folder(task, options)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"{error.filename}: {error.strerror}"
        raise TaskError(f"{place.parent} cannot be written ({why}): set LRA_HOME to a folder of yours") from None
    with held(Path(f"{place}.lock"), tell) as alive:
        if not os.path.lexists(place):
            _require_possible(task, options, place.parent)
            _build(task, options, source, place, _both(alive, progress))
    ready = load(task, options, tell)
    assert ready is not None
    return ready


def verify(task: Task, options: Any, tell: Tell = _quiet) -> Prepared | None:
    """Open data that was prepared earlier and check all of it: checksums, ranges and hash. None if there is none.

    A folder of an older version without checksums gets them if its content hash is correct. Raises TaskError as `load`.
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
    """Every prepared folder with its meta.json, by name, and the faults of damaged folders."""
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
        raise TaskError(f"{task.name} has {asked} examples, expected at least one in every split: set larger numbers")
    need, free = bytes_needed(task, options), shutil.disk_usage(parent).free
    if need > free:
        raise TaskError(
            f"preparing {task.name} needs up to {need / 1e6:,.0f} MB but {parent} has {free / 1e6:,.0f} MB free: "
            "set LRA_HOME to a larger disk or ask for fewer examples (--data.train N)"
        )


def _both(alive: Callable[[], None], progress: Progress) -> Progress:
    """Progress that also gives a sign of life to the lock."""

    def tell(count: int) -> None:
        alive()
        progress(count)

    return tell


def _build(task: Task, options: Any, source: Source, place: Path, progress: Progress) -> None:
    building = place.with_name(place.name + BUILDING)
    shutil.rmtree(building, ignore_errors=True)  # left by a killed process; this process holds the lock
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
        if error.filename is None:  # the error of a full disk names no file
            error.filename = str(building)
        raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _facts(task: Task, options: Any, splits: Mapping[str, Split]) -> dict[str, Any]:
    """The values of meta.json that follow from the options and the examples."""
    return {
        **_names(task, options),
        "description": task.describe(options),
        "counts": {split: len(splits[split]) for split in SPLITS},
        "references": {line: float(accuracy) for line, accuracy in task.references(options, splits).items()},
    }


def _names(task: Task, options: Any) -> dict[str, Any]:
    """The values of meta.json that the folder's name stands for, as read from JSON."""
    names = {"layout": LAYOUT, "task": task.name, "version": task.version, "dtype": task.dtype.str}
    return names | {"options": json.loads(json.dumps(asdict(options)))}


def _contradictions(task: Task, options: Any, meta: Mapping[str, Any], splits: Mapping[str, Split]) -> list[str]:
    """The contradictions between meta.json, the folder's name and its examples."""
    expected = {**_names(task, options), "counts": {split: len(splits[split]) for split in SPLITS}}
    return [
        f"meta.json has {key} {meta[key]}, expected {value}" for key, value in expected.items() if meta[key] != value
    ]


def _with_checksums(task: Task, options: Any, ready: Prepared, tell: Tell) -> Prepared:
    """The same data, with checksums and recomputed values in meta.json."""
    meta = {**ready.meta, **_facts(task, options, ready.splits), "files": checksums(ready.folder)}
    description.write(ready.folder, meta)
    tell(f"{ready.folder} had no checksums: its content hash is correct, so they were added")
    return replace(ready, meta=description.read(ready.folder))
