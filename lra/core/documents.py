"""Reading and writing of JSON and YAML as plain values. A file that is anything else is refused in one line.

A document is UTF-8 text of limited size. The keys of a mapping are text, each of them once. YAML has no tags, dates or
aliases: with aliases, a few lines can stand for more values than a machine holds. A number such as 1e-3 needs no dot.
JSON is that of RFC 8259. It lacks the NaN and Infinity that Python reads and writes and other programs refuse.
"""

from __future__ import annotations

import errno
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from attention_impls.ranges import shown
from attention_impls.spec import EXPONENT, Scalars
from lra.core.errors import UserError

CONFIG_BYTES = 1_000_000
RECORD_BYTES = 50_000_000
DEEPEST = 100  # levels of lists and mappings; recursive code relies on this limit


_HALF = re.compile(r"\\[uU](?:0000)?[dD][89a-fA-F]")


def read_json(path: Path, limit: int = RECORD_BYTES) -> Any:
    """The value in a JSON file of at most `limit` bytes. UserError if there is none, or if the file is a pipe."""
    return _parsed(parse_json, path, _text(path, limit, os.O_NONBLOCK))


def read_yaml(path: Path, limit: int = CONFIG_BYTES, *, as_text: bool = False) -> Any:
    """The value in a YAML file of at most `limit` bytes. UserError if there is none; the file may be a pipe.

    With `as_text`, every number stays the text in the file: 58.40 becomes "58.40".
    """
    return _parsed(parse_text_yaml if as_text else parse_yaml, path, _text(path, limit, 0))


def parse_json(text: str, where: str) -> Any:
    """The value of a JSON text. For other text UserError, whose message begins with `where`."""
    try:
        value = json.loads(text, object_pairs_hook=_mapping, parse_float=_finite, parse_constant=_finite)
        if sum(map(text.count, "[{")) > DEEPEST:  # as many may open a level
            _require_levels(value)
        return _sound(value, text)
    except json.JSONDecodeError as error:
        reason = error.msg[0].lower() + error.msg[1:]
        raise UserError(f"{where}: line {error.lineno}, column {error.colno}: {reason}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{where}: {_reason(error)}") from error


def json_text(value: Any, **layout: Any) -> str:
    """Plain values as JSON; `layout` goes to json.dumps. ValueError if a number is not finite."""
    return json.dumps(value, allow_nan=False, **layout)


def json_document(value: Any) -> bytes:
    """Plain values as the text of a JSON file that people read: indented, UTF-8, with a line end."""
    return (json_text(value, indent=1, ensure_ascii=False) + "\n").encode()


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text. For other text UserError, whose message begins with `where`."""
    return _load(text, where, _Values)


def parse_text_yaml(text: str, where: str) -> Any:
    """The value of a YAML text, with every number as text."""
    return _load(text, where, _Texts)


def yaml_text(value: Any, **layout: Any) -> str:
    """Plain values as YAML that `parse_yaml` reads back; `layout` goes to PyYAML's dump."""
    return yaml.dump(value, Dumper=_Plain, **{"sort_keys": False, **layout})


def _parsed(parse: Callable[[str, str], Any], path: Path, text: str) -> Any:
    if not text.strip():
        raise UserError(f"{path} is empty")
    return parse(text, str(path))


def _text(path: Path, limit: int, mode: int) -> str:
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | mode)) as file:
            if mode and not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OSError(errno.EINVAL, "a pipe or a device, expected a file")
            content = file.read(limit + 1)
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        raise UserError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    if len(content) > limit:
        raise UserError(f"{path} has more than {limit:,} bytes: it was not written by this program")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: byte {error.start:,} is not UTF-8: expected a text file in UTF-8") from error


def _require_levels(value: Any) -> None:
    """Raise RecursionError for more than DEEPEST levels."""
    level, depth = [value], 0
    while level := [inner for each in level for inner in _inner(each)]:
        depth += 1
        if depth > DEEPEST:
            raise RecursionError


def _sound(value: Any, text: str) -> Any:
    """The value of a text. ValueError for half a character."""
    if _HALF.search(text) and not _encodable(value):
        raise ValueError("an escape stands for half a character (a lone surrogate), expected both halves")
    return value


def _inner(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _encodable(value: Any) -> bool:
    try:
        return bool(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError:
        return False


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(_twice(next(name for name in names if names.count(name) > 1)))
    return values


def _twice(key: str) -> str:
    return f"key {shown(key)} stands twice: keep one"


def _finite(word: str) -> float:
    number = float(word)
    if not math.isfinite(number):
        raise ValueError(f"a number is {word}, expected a finite one")
    return number


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "brackets or lists are nested too deep"
    if "integer string conversion" in str(error):
        return "a whole number has thousands of digits"
    return " ".join(str(error).split())


class _Strict:
    """The checks that both loaders share."""

    def compose_node(self: Any, parent: Any, index: Any) -> Any:
        """Compose a node; refuse aliases and tags."""
        event = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(f"alias *{event.anchor}, expected the values themselves", event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise _Refused(f"tag {event.tag}, expected plain values", event.start_mark)
        return super().compose_node(parent, index)  # pyright: ignore[reportAttributeAccessIssue]

    def construct_mapping(self: Any, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct a mapping; refuse keys that are not text or that occur twice."""
        names = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _Refused(f"key {shown(key)}, expected text", key_node.start_mark)
            if key in names:
                raise _Refused(_twice(key), key_node.start_mark)
            names.add(key)
        return super().construct_mapping(node, deep)  # pyright: ignore[reportAttributeAccessIssue]


class _Refused(yaml.MarkedYAMLError):
    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Values(_Strict, Scalars):
    """Loads numbers as numbers and dates as text."""


class _Plain(yaml.SafeDumper):
    """Writes YAML that `_Values` reads back: no aliases, and quotes around text that looks like a number."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a repeated value in full each time, instead of an alias."""
        return True


_Plain.add_implicit_resolver(*EXPONENT)


class _Texts(_Strict, yaml.BaseLoader):
    """Loads every scalar as text."""


def _load(text: str, where: str, loader: Any) -> Any:
    try:
        value = yaml.load(text, loader)
        _require_levels(value)  # indentation alone may open a level
        return _sound(value, text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = ", ".join(filter(None, (error.context, error.problem)))
        raise UserError(f"{where}: {place}{reason}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{where}: {_reason(error)}") from error
