"""The attention of a trained run, read from the files that the run has left: its record and its best weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load_file

import attention_impls
from attention_impls.base import Arrays, AttentionError

CONSTANT = "constant/"
"""Stands before the name of an array that is drawn and stored, but not learned."""
BEST = "best.safetensors"


@dataclass(frozen=True, kw_only=True)
class Saved:
    """One layer's attention of a run: its name, its options, its sizes, and its arrays by their names in the card."""

    mechanism: str
    options: dict[str, Any]
    sizes: dict[str, Any]
    params: Arrays
    constants: Arrays


def read_run(path: Path | str, layer: int, grid: tuple[int, int] | None) -> Saved:
    """The attention of one layer, counted from 0; AttentionError, in one line, where the files do not have it.

    `path` is the run's record (results/runs/….json), which finds the weights by the run's id, or the weights
    themselves (results/.work/<run id>/best.safetensors), which find the record. `grid` is that of the run's pixels:
    the 2d layout needs it, and a record does not have it.
    """
    record, best = _files(Path(path))
    told, weights = _record(record), _weights(best)
    model = told["config"]["model"]
    if not 0 <= layer < model["depth"]:
        raise AttentionError(f"layer is {layer}, expected 0 to {model['depth'] - 1}, those that {record} has")
    _require_revision(told, record)
    own = f"layers.{layer}.attention."
    return Saved(
        mechanism=told["attn"],
        options=told["options"],
        sizes={
            "heads": model["heads"],
            "head_dim": model["width"] // model["heads"],
            "width": model["width"],
            "max_length": len(weights["positions.embedding"]),
            "grid": grid,
            "index": layer,
            "depth": model["depth"],
        },
        params=_within(weights, own),
        constants=_within(weights, CONSTANT + own),
    )


def require_arrays(found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """AttentionError for the first array that is missing, unknown or of another shape; both are shapes by name."""
    for name in sorted({*found, *expected}):
        if name not in found:
            raise AttentionError(f"array {name} is missing, expected {', '.join(expected)}")
        if name not in expected:
            raise AttentionError(f"array {name} is unknown, expected {', '.join(expected) or 'none'}")
        if tuple(found[name]) != tuple(expected[name]):
            raise AttentionError(f"array {name} has shape {tuple(found[name])}, expected {tuple(expected[name])}")


def _files(path: Path) -> tuple[Path, Path]:
    """The record and the weights, from either of them."""
    if path.suffix == ".json":
        return path, path.parents[1] / ".work" / str(_record(path)["run_id"]) / BEST
    folder = path if path.is_dir() else path.parent
    found = sorted((folder.parents[1] / "runs").glob(f"*-{folder.name[:8]}*.json"))
    if not found:
        raise AttentionError(f"{path}: no record of run {folder.name} in {folder.parents[1] / 'runs'}: name the record")
    return found[-1], folder / BEST


def _record(path: Path) -> dict[str, Any]:
    """What a record says, as far as it is needed."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        model = told["config"]["model"]
        whole = [model["heads"], model["width"], model["depth"]]
        words = [told["attn"], told["run_id"]]
        if not all(type(each) is int and each > 0 for each in whole) or not isinstance(told["options"], dict):
            raise ValueError
        if not all(isinstance(word, str) for word in words):
            raise ValueError
    except OSError as error:
        raise AttentionError(f"{path} cannot be read ({error.strerror}): name a record of results/runs") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise AttentionError(f"{path} is no record of a run: name one of results/runs") from error
    return told


def _weights(path: Path) -> Arrays:
    """All arrays of the encoder."""
    try:
        weights = load_file(path)
        len(weights["positions.embedding"])
    except OSError as error:
        raise AttentionError(f"{path} cannot be read: the weights stay where the run was trained") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise AttentionError(f"{path} holds no weights of a run: train it again") from error
    return weights


def _require_revision(told: Mapping[str, Any], record: Path) -> None:
    """AttentionError where the mechanism's numbers have changed since."""
    now = attention_impls.load(told["attn"]).card.revision
    then = (told.get("revisions") or {}).get("attention", 1)
    if then != now:
        raise AttentionError(f"{record} is of revision {then} of {told['attn']}, now {now}: train it again")


def _within(arrays: Arrays, prefix: str) -> Arrays:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
