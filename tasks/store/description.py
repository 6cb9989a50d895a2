"""meta.json, what a prepared folder says of itself: written with a checksum of its own, checked when it is read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.base import SPLITS
from tasks.store.integrity import damaged, sync

LAYOUT = 2  # of the files in a prepared folder; folders of another layout are not opened
_KINDS = {
    "layout": int,
    "task": str,
    "version": int,
    "description": str,
    "origin": str,
    "options": dict,
    "counts": dict,
    "dtype": str,
    "hash": str,
    "references": dict,
}


def read(folder: Path) -> dict[str, Any]:
    """What meta.json says; TaskError where it is damaged, or does not have the keys and the types that it should.

    Folders from before there were checksums have neither `files` nor `checksum`.
    """
    path = folder / "meta.json"
    try:
        meta = json.loads(path.read_bytes())
    except OSError as error:
        raise damaged(path, error.strerror, folder) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, folder) from None
    fault = _fault(meta)
    if fault:
        raise damaged(path, fault, folder)
    return meta


def write(folder: Path, meta: Mapping[str, Any]) -> None:
    """Write meta.json with its checksum, so that it appears complete or not at all."""
    content = json.dumps({**meta, "checksum": _checksum(meta)}, indent=1, allow_nan=False)
    beside = folder / ".meta.json"
    beside.write_text(content)
    sync(beside)
    beside.replace(folder / "meta.json")
    sync(folder)


def _checksum(meta: Mapping[str, Any]) -> str:
    """SHA-256 over everything but the checksum."""
    rest = {key: value for key, value in meta.items() if key != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _fault(meta: Any) -> str:
    """What is wrong with a description; "" where nothing is."""
    if not isinstance(meta, dict):
        return "it is no JSON object"
    if ("files" in meta) != ("checksum" in meta):
        return "it has only one of files and checksum"
    if "checksum" in meta and meta["checksum"] != _checksum(meta):
        return "its checksum does not hold"
    for key, kind in _KINDS.items():
        if not isinstance(meta.get(key), kind):
            return f"its {key} is {meta.get(key)!r}"
    if meta["layout"] != LAYOUT:
        return f"its layout is {meta['layout']}, expected {LAYOUT}"
    if [type(meta["counts"].get(split)) for split in SPLITS] != [int] * len(SPLITS):
        return f"its counts are {meta['counts']}"
    if not re.fullmatch(r"[0-9a-f]{64}", meta["hash"]):
        return f"its hash is {meta['hash']!r}"
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in meta["references"].values()):
        return f"its references are {meta['references']}"
    return ""
