"""Prepared data on disk: built beside and renamed into place, locked, hashed, memory-mapped.

A folder holds one choice of a task's data: `<home>/<task>-v<version>-<digest of the options>/` with meta.json and,
for each split, tokens.bin (flat), lengths.npy, labels.npy, one .npy for each of the extras, and examples.npy where
example i is not document i. Opening maps the files; only the offsets are computed.
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
from filelock import FileLock
from platformdirs import user_cache_path

from tasks.base import SPLITS, Source, Split, Task, TaskError
from tasks.writer import SplitWriter

LAYOUT = 2  # of the files in a prepared folder; folders of another layout are not looked at
Progress = Callable[[int], None]  # called with the number of examples that have just been written


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


def home() -> Path:
    """Where prepared data lives: $LRA_HOME, else the user's cache directory."""
    given = os.environ.get("LRA_HOME")
    return Path(given).expanduser() if given else user_cache_path("lra")


def folder(task: Task, options: Any) -> Path:
    """The folder of this choice of data, whether it exists or not."""
    text = json.dumps({"layout": LAYOUT, "version": task.version, **asdict(options)}, sort_keys=True, default=str)
    return home() / f"{task.name}-v{task.version}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def load(task: Task, options: Any) -> Prepared | None:
    """Open what was prepared earlier, or None. Truncated files raise TaskError."""
    place = folder(task, options)
    if not (place / "meta.json").exists():
        return None
    try:
        meta = json.loads((place / "meta.json").read_text())
    except ValueError as error:
        raise TaskError(f"{place / 'meta.json'} is damaged ({error}): delete the folder and run again") from error
    return Prepared(folder=place, meta=meta, splits={split: _open(place / split, meta) for split in SPLITS})


def prepare(task: Task, options: Any, source: Source, progress: Progress = lambda n: None) -> Prepared:
    """Open the data, building it first where it does not exist. Safe against a second process doing the same."""
    ready = load(task, options)
    if ready is not None:
        return ready
    place = folder(task, options)
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        if load(task, options) is None:
            _require_possible(task, options, place.parent)
            _build(task, options, source, place, progress)
    ready = load(task, options)
    assert ready is not None
    return ready


def inventory() -> list[tuple[Path, Mapping[str, Any]]]:
    """Every prepared folder with what its meta.json says, by name; damaged and half-made ones are passed over."""
    found = []
    for path in sorted(home().glob("*/meta.json")):
        try:
            meta = json.loads(path.read_text())
        except ValueError:
            continue
        if meta.get("layout") == LAYOUT:
            found.append((path.parent, meta))
    return found


def bytes_needed(task: Task, options: Any) -> int:
    """An upper bound on the size of the prepared tokens, in bytes."""
    return task.size(task, options)


def verify(task: Task, options: Any, prepared: Prepared) -> list[str]:
    """Recount, re-range and re-hash prepared data; every sentence returned is something wrong."""
    wrong = _problems(task, options, prepared.splits)
    found = content_hash(prepared.splits)
    if found != prepared.hash:
        wrong.append(f"content hash is {found[:16]}…, recorded {prepared.hash[:16]}…")
    return wrong


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


def _build(task: Task, options: Any, source: Source, place: Path, progress: Progress) -> None:
    building = place.with_name(place.name + ".building")
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
        meta: dict[str, Any] = {"dtype": writers["train"].dtype.str}
        splits = {split: _open(building / split, meta) for split in SPLITS}
        wrong = _problems(task, options, splits)
        if wrong:
            raise TaskError(f"{task.name} was built wrong: {'; '.join(wrong)}")
        meta |= {
            "layout": LAYOUT,
            "task": task.name,
            "version": task.version,
            "description": task.describe(options),
            "origin": origin,
            "options": asdict(options),
            "counts": {split: len(splits[split]) for split in SPLITS},
            "hash": content_hash(splits),
            "references": task.references(options, splits),
            "seconds": round(time.time() - started, 2),
        }
        (building / "meta.json").write_text(json.dumps(meta, indent=1, allow_nan=False))
        building.rename(place)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _open(place: Path, meta: Mapping[str, Any]) -> Split:
    try:
        extras = {path.stem: np.load(path, mmap_mode="r") for path in sorted((place / "extras").glob("*.npy"))}
        tokens = np.memmap(place / "tokens.bin", dtype=meta["dtype"], mode="r")
        labels = np.load(place / "labels.npy", mmap_mode="r")
        offsets = np.concatenate([[0], np.cumsum(np.load(place / "lengths.npy"), dtype=np.int64)])
        examples = _examples(place / "examples.npy", len(labels))
    except (OSError, ValueError, EOFError) as error:
        raise TaskError(f"prepared data in {place} is damaged ({error}): delete the folder and run again") from error
    if len(tokens) != offsets[-1]:
        raise TaskError(
            f"{place / 'tokens.bin'} holds {len(tokens):,} tokens, expected {offsets[-1]:,}: "
            "delete the folder and run again"
        )
    return Split(tokens=tokens, offsets=offsets, examples=examples, labels=labels, extras=extras)


def _examples(path: Path, count: int) -> np.ndarray:
    if not path.exists():
        return np.arange(count, dtype=np.int64)[:, None]
    return np.load(path).astype(np.int64)


def _problems(task: Task, options: Any, splits: Mapping[str, Split]) -> list[str]:
    wrong = []
    longest = task.shape(options).max_length
    for name, count in task.counts(options).items():
        split = splits[name]
        if count not in (None, len(split)):
            wrong.append(f"{name} holds {len(split):,} examples, expected {count:,}")
        if len(split) and int(split.tokens.max()) >= task.vocab:
            wrong.append(f"{name} holds token {int(split.tokens.max())}, expected below {task.vocab}")
        if len(split) and int(split.labels.max()) >= task.classes:
            wrong.append(f"{name} holds label {int(split.labels.max())}, expected below {task.classes}")
        lengths = np.diff(split.offsets)
        if len(split) and not 0 < lengths.min() <= lengths.max() <= longest:
            wrong.append(f"{name} has lengths {lengths.min()} to {lengths.max()}, expected 1 to {longest}")
    return wrong
