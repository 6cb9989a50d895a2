"""Maps the files of a prepared folder into memory and finds impossible values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tasks.base import NOT_NUMPY, SPLITS, Split, Task
from tasks.files import hidden
from tasks.store.integrity import TOKENS, damaged


def open_splits(folder: Path, task: Task) -> dict[str, Split]:
    """Every split with its files mapped. TaskError if files cannot be read or do not fit each other."""
    return {split: _open(folder / split, task.dtype, folder) for split in SPLITS}


def problems(task: Task, options: Any, splits: Mapping[str, Split], *, tokens: bool) -> list[str]:
    """The contradictions between the splits and the task with its options, one sentence each.

    The values of tokens are checked only if `tokens` is true, since that reads all of them.
    """
    wrong = []
    longest, counts = task.shape(options).max_length, task.counts(options)
    for name, split in splits.items():
        lengths = np.diff(split.offsets)
        if counts[name] not in (None, len(split)):
            wrong.append(f"{name} holds {len(split):,} examples, expected {counts[name]:,}")
        if split.examples.shape[1] != task.towers:
            wrong.append(f"{name} holds {split.examples.shape[1]} documents an example, expected {task.towers}")
        if len(split) and int(split.labels.max()) >= task.classes:
            wrong.append(f"{name} holds label {int(split.labels.max())}, expected below {task.classes}")
        if len(split) and not 0 < lengths.min() <= lengths.max() <= longest:
            wrong.append(f"{name} has lengths {lengths.min()} to {lengths.max()}, expected 1 to {longest}")
        if tokens and np.iinfo(split.tokens.dtype).max >= task.vocab and int(split.tokens.max()) >= task.vocab:
            wrong.append(f"{name} holds token {int(split.tokens.max())}, expected below {task.vocab}")
    return wrong


def _open(place: Path, dtype: np.dtype, folder: Path) -> Split:
    try:
        tokens = np.memmap(place / TOKENS, dtype=dtype, mode="r")
        labels = np.load(place / "labels.npy", mmap_mode="r")
        lengths = np.load(place / "lengths.npy")
        rows = place / "examples.npy"
        examples = np.load(rows) if rows.exists() else np.arange(len(labels), dtype=np.uint64)[:, None]
        paths = [path for path in sorted((place / "extras").glob("*.npy")) if not hidden(path)]
        extras = {path.stem: np.load(path, mmap_mode="r") for path in paths}
    except NOT_NUMPY as error:
        raise damaged(place, error, folder) from None
    fault = _misfit(tokens, lengths, labels, examples, extras)
    if fault:
        raise damaged(place, fault, folder)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return Split(tokens=tokens, offsets=offsets, examples=examples.astype(np.int64), labels=labels, extras=extras)


def _misfit(
    tokens: np.ndarray, lengths: np.ndarray, labels: np.ndarray, examples: np.ndarray, extras: Mapping[str, np.ndarray]
) -> str:
    """The contradiction between the arrays of a split; "" if they fit each other."""
    expected = ("labels", labels, "|u1", 1), ("lengths", lengths, "u", 1), ("examples", examples, "u", 2)
    for name, array, kind, axes in expected:
        if array.ndim != axes or kind not in (array.dtype.str, array.dtype.kind):
            return f"{name} are {array.dtype} {array.shape}, expected {axes} axes of unsigned integers"
    if int(lengths.sum()) != len(tokens):
        return f"it holds {len(tokens):,} tokens, expected {int(lengths.sum()):,}"
    for name, array in {"examples": examples, **extras}.items():
        if array.dtype.kind not in "biuf" or array.shape[:1] != labels.shape:
            return f"{name} are {array.dtype} {array.shape}, expected numbers for each of {len(labels):,} labels"
    if int(examples.max(initial=0)) >= max(len(lengths), 1):
        return f"its examples name document {int(examples.max()):,} of {len(lengths):,}"
    return ""
