"""The attention of a finished run, read from its record and its best weights."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

import attention_impls
from attention_impls.base import Arrays, AttentionError

CONSTANT = "constant/"
"""The prefix of names of constant arrays, which are stored but not learned."""
BEST = "best.safetensors"
LONGEST = "max_length"
"""The fact in a best.safetensors with the number of tokens that its arrays support."""
FACTS = "lra"
"""The only key of a file's metadata: its facts and checksum, as JSON."""


@dataclass(frozen=True, kw_only=True)
class Saved:
    """The attention of one layer of a run: name, options, sizes, and arrays by their names in the card."""

    mechanism: str
    options: dict[str, Any]
    sizes: dict[str, Any]
    params: Arrays
    constants: Arrays


def read_run(path: Path | str, layer: int, grid: tuple[int, int] | None) -> Saved:
    """Read the attention of one layer, counted from 0.

    `path` is the run's record (results/runs/….json) or its weights (results/.work/<run id>/best.safetensors); the other
    file is found by the run's id. `grid` is the grid of the run's pixels. The 2d layout needs it, and records lack it.

    Raises:
        AttentionError: A file is missing or does not fit.
    """
    record, best = _files(Path(path))
    told = _record(record)
    weights, longest = _weights(best, told["run_id"])
    model = told["config"]["model"]
    if not 0 <= layer < model["depth"]:
        raise AttentionError(f"layer is {layer}, expected 0 to {model['depth'] - 1}, the layers of {record}")
    _require_revision(told, record)
    own = f"layers.{layer}.attention."
    return Saved(
        mechanism=told["attn"],
        options=told["options"],
        sizes={
            "heads": model["heads"],
            "head_dim": model["width"] // model["heads"],
            "width": model["width"],
            "max_length": longest,
            "grid": grid,
            "index": layer,
            "depth": model["depth"],
        },
        params=_within(weights, own),
        constants=_within(weights, CONSTANT + own),
    )


def require_arrays(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise AttentionError for the first array that is missing, unknown or of another shape."""
    for name in sorted({*found, *expected}):
        if name not in found:
            raise AttentionError(f"array {name} is missing, expected {', '.join(expected)}")
        if name not in expected:
            raise AttentionError(f"array {name} is unknown, expected {', '.join(expected) or 'none'}")
        if tuple(found[name]) != tuple(expected[name]):
            raise AttentionError(f"array {name} has shape {tuple(found[name])}, expected {tuple(expected[name])}")


def checksum(arrays: Arrays, facts: Mapping[str, Any]) -> str:
    """SHA-256 of the facts and of every array's name, dtype, shape and bytes, independent of the file's layout."""
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def record_checksum(values: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a record without its checksum, as JSON in UTF-8 with sorted keys and without spaces."""
    others = {name: value for name, value in values.items() if name != "checksum"}
    text = json.dumps(others, allow_nan=False, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def _files(path: Path) -> tuple[Path, Path]:
    """The paths of the record and of the weights, from one of them."""
    if path.suffix == ".json":
        return path, path.absolute().parent.parent / ".work" / _record(path)["run_id"] / BEST
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    runs = folder.parent.parent / "runs"
    found = sorted(runs.glob(f"*-{glob.escape(folder.name[:8])}*.json"))
    if not found:
        raise AttentionError(f"{path}: no record of run {folder.name} in {runs}: name the record")
    return found[-1], folder / BEST


def _record(path: Path) -> dict[str, Any]:
    """The values of a record, with those checked that are used here."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        model = told["config"]["model"]
        whole = [model["heads"], model["width"], model["depth"]]
        words = [told["attn"], told["run_id"]]
        if not all(type(each) is int and each > 0 for each in whole) or not isinstance(told["options"], dict):
            raise ValueError("expected options, and heads, width and depth of a model")
        if not all(isinstance(word, str) for word in words) or "/" in told["run_id"]:
            raise ValueError("expected attn and run_id")
        if not isinstance(told.get("revisions", {}), dict):
            raise ValueError("expected revisions as a mapping")
        if told.get("checksum") is not None and told["checksum"] != record_checksum(told):
            raise ValueError("its checksum does not match")
    except OSError as error:
        raise AttentionError(f"{path} cannot be read ({error.strerror}): name a record of results/runs") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise AttentionError(f"{path} is not the record of a run ({_line(error)}): name one of results/runs") from error
    return told


def _weights(path: Path, run: str) -> tuple[Arrays, int]:
    """All arrays of the run's encoder, and the length that they support."""
    try:
        with safe_open(path, framework="numpy") as file:
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            facts = dict(json.loads((file.metadata() or {})[FACTS]))
        if facts.pop("checksum", None) != checksum(weights, facts):
            raise ValueError("its checksum does not match")
        if facts.get("run") != run:
            raise ValueError(f"it is of run {facts.get('run')}, but the record of {run}")
        # Older files lack the fact, but have learned positions.
        longest = facts[LONGEST] if LONGEST in facts else len(weights["positions.embedding"])
        if type(longest) is not int or longest < 1:
            raise ValueError(f"it is made for {longest} tokens")
    except OSError as error:
        raise AttentionError(f"{path} cannot be read: copy the weights from where the run was trained") from error
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise AttentionError(f"{path} does not have the weights of the run ({_line(error)}): train it again") from error
    return weights, longest


def _require_revision(told: Mapping[str, Any], record: Path) -> None:
    """Raise AttentionError if the mechanism's numbers have changed since the run."""
    now = attention_impls.load(told["attn"]).card.revision
    then = told.get("revisions", {}).get("attention", 1)
    if then != now:
        raise AttentionError(f"{record} is of revision {then} of {told['attn']}, now {now}: train it again")


def _line(error: Exception) -> str:
    """The error's message, in one line."""
    return " ".join(f"{error}".split())[:120] or type(error).__name__


def _within(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
