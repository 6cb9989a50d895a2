"""Every run as the page holds it: a few columns of all that stand ready, and what more there is of each, packed.

Thousands of runs have tens of megabytes to tell, of which a reader opens a few. So they are compressed, BLOCK by BLOCK,
and the page unpacks the block that it needs.
"""

from __future__ import annotations

import zlib
from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import attention_impls
import tasks
from lra.core.documents import json_text
from lra.scores import overrides
from lra.scores.board import LEARNING
from lra.training.disturbance import ALONE
from lra.training.history import COLUMNS
from lra.training.record import Record
from lra.training.screen import verdict

Values = dict[str, Any]
LOSS_DIGITS = 4
BLOCK = 64  # runs that are packed together: as many as are quickly unpacked, and alike enough to shrink


def identities(records: Sequence[Record]) -> dict[str, Record]:
    """Every record under an id of its own: its run_id, and for a run trained again run_id.2, in the files' order."""
    counts: Counter[str] = Counter()
    found: dict[str, Record] = {}
    for each in records:
        counts[each.run_id] += 1
        again = counts[each.run_id]
        found[f"{each.run_id}.{again}" if again > 1 else each.run_id] = each
    return found


def named(attn: str, words: Sequence[str]) -> Values:
    """A mechanism's name, what a command line adds to it, and whether it has a card here."""
    return {"attn": Path(attn).name, "words": " ".join(words), "known": _has_card(attn)}


@cache
def _has_card(attn: str) -> bool:
    return attn in attention_impls.names()


def run_columns(runs: Mapping[str, Record]) -> Values:
    """What the list of runs shows, a list a column; what many runs share stands once, in `kinds`."""
    kinds: dict[tuple, int] = {}
    columns: Values = {"id": list(runs), "kind": []}
    for each in runs.values():
        kind = _kind(each)
        columns["kind"].append(kinds.setdefault(tuple(kind.values()), len(kinds)))
        for name, value in _figures(each).items():
            columns.setdefault(name, []).append(value)
    names = list(_kind(next(iter(runs.values()))))
    return {"block": BLOCK, "kinds": [dict(zip(names, kind, strict=True)) for kind in kinds], "columns": columns}


def _kind(each: Record) -> Values:
    """What a run shares with those of other seeds."""
    return {
        **named(each.attn, [*overrides.words(each), *filter(None, [overrides.tuned([each]), _devices(each)])]),
        "task": each.task,
        "title": tasks.load(each.task).title,
        "version": each.task_version,
        "data": each.data,
        "data_hash": each.data_hash,
        "backend": each.backend,
        "preset": overrides.preset_name(each),
        "undertrained": each.preset == LEARNING,
    }


def _devices(each: Record) -> str:
    """What speed and memory are of, where that is not one device: they are no row beside those of one."""
    return f"{each.devices} devices" if (each.devices or 1) > 1 else ""


def _figures(each: Record) -> Values:
    """The numbers of a row, with the digits that it shows; accuracies in per cent."""
    return {
        "seed": each.seed,
        "accuracy": _percent(each.test_accuracy),
        "error": _percent(each.standard_error),
        "rule": _percent(max(each.references.values())),
        "seconds": round(each.seconds, 1),
        "speed": round(each.samples_per_second),
        "memory": round(each.peak_memory_bytes / 1e6),
    }


def packed(runs: Mapping[str, Record]) -> Iterator[str]:
    """What the page of a run shows beside its columns: a block of JSON at a time, as zlib and then Base64 write it."""
    rest = iter(runs.values())
    while block := list(islice(rest, BLOCK)):
        text = json_text([_details(each) for each in block], ensure_ascii=False, separators=(",", ":"))
        yield b64encode(zlib.compress(text.encode(), 9)).decode()


def _details(each: Record) -> Values:
    return {
        "id": each.run_id,
        "last": _percent(each.test_accuracy_last),
        "examples": each.test_examples,
        "validation": _percent(each.validation_accuracy),
        "validated": each.validation,
        "best_step": each.best_step,
        "references": {name: _percent(value) for name, value in each.references.items()},
        "verdict": verdict(each),
        "curve": _curve(each),
        "parameters": each.parameters,
        "evaluation_seconds": round(each.evaluation_seconds, 1),
        "config": {part: each.config[part] for part in ("data", "options", "model", "train")},
        "changed": [word for part in ("data", "model", "train") for word in overrides.changes(each, part)],
        "untimed": "" if each.timing in (None, ALONE) else each.timing,
        "environment": each.environment | _surroundings(each),
        "git": each.git,
        "command": overrides.command(each),
    }


def _surroundings(each: Record) -> Values:
    """What records tell of their surroundings since schema 2."""
    told = ("precision", "devices", "usable_cores", "usable_memory_bytes")
    found = {name: getattr(each, name) for name in told if getattr(each, name) is not None}
    return found | ({"switches": each.switches} if each.switches else {})


def _curve(each: Record) -> dict[str, list[int | float]]:
    """A list a column; accuracies in per cent, to two digits."""
    columns: dict[str, list[int | float]] = {name: [getattr(point, name) for point in each.curve] for name in COLUMNS}
    for name, values in columns.items():
        if name.endswith("accuracy"):
            columns[name] = [_percent(value, digits=2) for value in values]
        elif name.endswith("loss"):
            columns[name] = [round(value, LOSS_DIGITS) for value in values]
    return columns


def _percent(fraction: float, digits: int = 1) -> float:
    """Rounded here and not where it is shown, so that every place shows the same digits."""
    return round(100 * fraction, digits)
