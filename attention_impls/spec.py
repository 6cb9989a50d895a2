"""The grammar of a mechanism with options in one text: elfatt@block_size=64@layout=2d.

The text is a name, followed by @option=value for each option. Dashes in names are underscores. Values are YAML. A name
or value with a comma, an @ or a quote is written in double quotes, with JSON's escapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import yaml

from attention_impls.base import AttentionError

EXPECTED = "expected NAME@option=value, as in elfatt@block_size=64@layout=2d"
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_NAME = re.compile(rf'{_QUOTED}|[^",@]+')
_OPTION = re.compile(rf'@\s*([\w-]+)\s*=\s*({_QUOTED}|\[[^\[\]]*\]|[^",@\[\]]+)\s*')


class Scalars(yaml.SafeLoader):
    """Loads YAML with numbers such as 1e-3, and with dates as text."""

    yaml_implicit_resolvers: ClassVar = {
        first: [(tag, pattern) for tag, pattern in found if tag.rpartition(":")[2] in ("bool", "int", "float", "null")]
        for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


EXPONENT = ("tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789"))
"""A number like 1e-3, which YAML 1.1 reads as text."""
Scalars.add_implicit_resolver(*EXPONENT)


def scalar(text: str) -> Any:
    """The value of an option. AttentionError if the text is not YAML."""
    try:
        return yaml.load(text, Scalars)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise AttentionError(f"{text!r} is not a YAML value: correct it, or put it in double quotes") from error


def is_folder(text: str) -> bool:
    """Whether the whole text is the path of a folder, whose name may have any characters."""
    try:
        return "/" in text and Path(text).expanduser().is_dir()
    except (OSError, RuntimeError):  # a name that is too long, or ~ with an unknown user
        return False


def parse_one(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the options in a text with one mechanism. AttentionError for other text."""
    try:
        name, options, end = parse_at(text, 0, scalar)
        if end != len(text):
            raise AttentionError(EXPECTED)
    except AttentionError as error:
        raise AttentionError(f"attention {text!r}: {error}") from error
    return name, options


def parse_at(text: str, at: int, read: Callable[[str], Any]) -> tuple[str, dict[str, Any], int]:
    """The mechanism that begins at an index of the text: its name, its options by `read`, and the index of its end."""
    match = _NAME.match(text, at)
    if match is None:
        raise AttentionError(EXPECTED)
    name, at, options = _unquoted(match[0].strip()), match.end(), {}
    while match := _OPTION.match(text, at):
        key, at = match[1].replace("-", "_"), match.end()
        if key in options:
            raise AttentionError(f"option {key} is given twice: keep one")
        value = match[2].strip()
        options[key] = _unquoted(value) if value.startswith('"') else read(value)
    if text[at : at + 1] not in ("", ",") or not name:
        raise AttentionError(EXPECTED)
    return (name if "/" in name else name.replace("-", "_")), options, at


def _unquoted(word: str) -> str:
    if not word.startswith('"'):
        return word
    try:
        return json.loads(word)
    except ValueError as error:
        raise AttentionError(f"{word} is not a quoted JSON text: correct the quotes") from error
