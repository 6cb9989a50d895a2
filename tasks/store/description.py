"""The file meta.json of a prepared folder. It has its own checksum, which is checked when it is read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import reprlib
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.base import SPLITS
from tasks.store.integrity import damaged, sync

LAYOUT = 2  # of the files in a prepared folder; folders of another layout are not opened
MOST = 100_000_000  # bytes of a description: it has nine for each 4 MB of data
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
    """The content of meta.json. TaskError if it is damaged, or has wrong keys or types.

    Folders of older versions have neither `files` nor `checksum`.
    """
    path = folder / "meta.json"
    try:
        meta = json.loads(_content(path))
        json.dumps(meta, ensure_ascii=False, allow_nan=False).encode()  # no NaN, no half a character
        fault = _fault(meta)
    except OSError as error:
        raise damaged(path, error.strerror or error, folder) from None
    except (ValueError, RecursionError) as error:
        raise damaged(path, " ".join(str(error).split()), folder) from None
    if fault:
        raise damaged(path, fault, folder)
    return meta


def _content(path: Path) -> bytes:
    """The content of a file of up to MOST bytes. A pipe is refused, since it may never end."""
    with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "it is not a file")
        content = file.read(MOST + 1)
    if len(content) > MOST:
        raise OSError(errno.EFBIG, f"it has more than {MOST:,} bytes")
    return content


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
    """The fault of a description; "" without a fault."""
    if not isinstance(meta, dict):
        return "it is not a JSON object"
    if ("files" in meta) != ("checksum" in meta):
        return "it has only one of files and checksum"
    if "checksum" in meta and meta["checksum"] != _checksum(meta):
        return "its checksum does not match"
    for key, kind in _KINDS.items():
        value = meta.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            return f"its {key} is {reprlib.repr(value)}"
    if meta["layout"] != LAYOUT:
        return f"its layout is {meta['layout']}, expected {LAYOUT}"
    if [type(meta["counts"].get(split)) for split in SPLITS] != [int] * len(SPLITS):
        return f"its counts are {reprlib.repr(meta['counts'])}"
    if not re.fullmatch(r"[0-9a-f]{64}", meta["hash"]):
        return f"its hash is {reprlib.repr(meta['hash'])}"
    if not all(isinstance(value, int | float) and 0 <= value <= 1 for value in meta["references"].values()):
        return f"its references are {reprlib.repr(meta['references'])}"
    return "" if "files" not in meta else _fault_of_files(meta["files"])


def _fault_of_files(files: Any) -> str:
    if not isinstance(files, dict):
        return f"its files are {reprlib.repr(files)}"
    for name, each in files.items():
        sound = isinstance(each, dict) and type(each.get("bytes")) is int and isinstance(each.get("crc32"), str)
        if not sound:
            return f"its files name {name!r} as {reprlib.repr(each)}"
    return ""
