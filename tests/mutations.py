"""What befalls files: cut, flipped, emptied, replaced, written by others. Each is drawn from a seeded generator."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Rng = np.random.Generator
Bytes = Callable[[bytes, Rng], bytes]
ODD: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 2**70, -(2**70), 0.5, 1e308, "", "x", "1", "\0", "é" * 50, "[/x]", "../..", "~nobody/x"),
    *([], [1], [[]], {}, {"a": 1}, ["a"] * 3, "x" * 10_000),
)
"""Values of every kind, of which a reader may expect one at most."""


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: rng.integers(0, max(len(content), 1))]


def _flipped(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for place in rng.integers(0, len(content), rng.integers(1, 4)) if content else ():
        changed[place] ^= 1 << int(rng.integers(0, 8))
    return bytes(changed)


def _without(content: bytes, rng: Rng) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:first] + content[last:]


def _twice(content: bytes, rng: Rng) -> bytes:
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:last] + content[first:]


def _zeros(content: bytes, rng: Rng) -> bytes:
    """What a power cut leaves of a page that was never written."""
    first, last = sorted(rng.integers(0, len(content) + 1, 2))
    return content[:first] + bytes(int(last - first)) + content[last:]


def _strange(content: bytes, rng: Rng) -> bytes:
    place = int(rng.integers(0, len(content) + 1))
    return content[:place] + rng.bytes(int(rng.integers(1, 40))) + content[place:]


def _marked(content: bytes, rng: Rng) -> bytes:
    return b"\xef\xbb\xbf" + content


def _dos(content: bytes, rng: Rng) -> bytes:
    return content.replace(b"\n", b"\r\n")


def _utf16(content: bytes, rng: Rng) -> bytes:
    return content.decode("latin-1").encode("utf-16")


def _page(content: bytes, rng: Rng) -> bytes:
    """What a proxy gives instead of a file."""
    return b"<!DOCTYPE html><html><body>404</body></html>\n"


def _deep(content: bytes, rng: Rng) -> bytes:
    return [b"[", b'{"a":', b"- "][rng.integers(0, 3)] * 50_000


BYTES: tuple[Bytes, ...] = (
    *(_cut, _flipped, _without, _twice, _zeros, _strange, _marked, _dos, _utf16, _page, _deep),
    lambda content, rng: b"",
)


def of_bytes(path: Path, rng: Rng) -> str:
    """Change the content of a file, or put something else in its place; what was done."""
    kind = int(rng.integers(0, len(BYTES) + 3))
    if kind < len(BYTES):
        path.write_bytes(BYTES[kind](path.read_bytes(), rng))
        return f"bytes {kind}"
    path.unlink()
    if kind == len(BYTES):
        path.mkdir()
        return "a folder"
    if kind == len(BYTES) + 1:
        path.symlink_to(path)
        return "a link to itself"
    return "gone"


def of_values(path: Path, rng: Rng) -> str:
    """Change one value of a JSON or YAML file, or its key; what was done."""
    text = path.read_text(encoding="utf-8")
    plain = path.suffix == ".yaml"
    values = yaml.safe_load(text) if plain else json.loads(text)
    holder, key = _place(values, rng)
    did = f"at {key!r}"
    if isinstance(holder, dict) and rng.random() < 0.3:
        value = holder.pop(key)
        if rng.random() < 0.5:
            holder[f"{key}x"] = value
        did += " key"
    else:
        holder[key] = copy.deepcopy(ODD[rng.integers(0, len(ODD))])
    text = yaml.safe_dump(values, sort_keys=False) if plain else json.dumps(values)
    path.write_text(text, encoding="utf-8")
    return did


def _place(values: Any, rng: Rng) -> tuple[Any, Any]:
    """A list or mapping inside, and a key of it; the shallow ones are as likely as the many deep ones."""
    while True:
        key = (
            list(values)[rng.integers(0, len(values))]
            if isinstance(values, dict)
            else int(rng.integers(0, len(values)))
        )
        inner = values[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.25:
            return values, key
        values = inner


def fresh_copy(origin: Path, to: Path) -> None:
    """The files of an input as they were, in place of those of the last trial."""
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(origin, to, symlinks=True)
