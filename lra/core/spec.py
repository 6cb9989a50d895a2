"""One spelling of a mechanism with options: elfatt@block_size=64@layout=2d.

attention_impls/spec.py has the grammar of one mechanism. Here several are separated by commas. A path with a slash
names a folder; alone, without options, it needs no quotes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attention_impls
from attention_impls.base import AttentionError
from attention_impls.spec import EXPECTED, is_folder, parse_at
from lra.core.documents import json_text, parse_yaml
from lra.core.errors import UserError


@dataclass(frozen=True)
class Spec:
    """A mechanism with the options that differ from its card."""

    name: str
    """The name of a folder in attention_impls, or the path, with a slash, of a folder elsewhere."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Spec:
        """The mechanism that the text names. UserError if it names none or several."""
        found = parse_specs(text)
        if len(found) != 1:
            raise UserError(f"--attn {text} names {len(found)} mechanisms, expected one")
        return found[0]

    def __str__(self) -> str:
        return _name(self.name) + self.suffix

    @property
    def suffix(self) -> str:
        """The options, in the spelling that follows the name."""
        return "".join(f"@{name}={_value(value)}" for name, value in self.options.items())

    @property
    def label(self) -> str:
        """The spelling for tables; of a path only the last part."""
        return Path(self.name).name + self.suffix

    def covers(self, name: str, options: Mapping[str, Any]) -> bool:
        """Whether a mechanism with these options matches. Options that are not named here may have any value."""
        return self.name == name and all(options.get(key) == value for key, value in self.options.items())


class Specs(tuple[Spec, ...]):
    """Several mechanisms; `parse_specs` reads their spelling and `print_specs` writes it."""


def parse_specs(text: str) -> Specs:
    """The mechanisms of a comma-separated text, each once; "all" names every mechanism."""
    if text.strip() == "all":
        return Specs(map(Spec, attention_impls.names()))
    if '"' not in text and is_folder(text):
        return Specs((Spec(text),))
    found, at = [], 0
    while at < len(text):
        if text[at] in ", ":
            at += 1
            continue
        spec, at = _parsed(text, at)
        found += [spec] if spec not in found else []
    if not found:
        raise UserError(f"--attn is empty: {EXPECTED}, or several separated by commas")
    return Specs(found)


def print_specs(specs: Sequence[Spec]) -> str:
    """The inverse of `parse_specs`."""
    return ",".join(map(str, specs))


def _parsed(text: str, at: int) -> tuple[Spec, int]:
    """The mechanism that begins at an index of the text, and the index of the next one."""
    try:
        name, options, end = parse_at(text, at, lambda value: parse_yaml(value, f"--attn {text}"))
    except AttentionError as error:
        raise UserError(f"--attn {text}: {error}") from error
    return Spec(name, options), end


def _name(name: str) -> str:
    """The name, quoted if `parse_specs` needs that to read it back."""
    return name if re.fullmatch(r'[^",@]+', name) and name == name.strip() else json_text(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """A value on one line, in quotes if it would otherwise be read as another value."""
    if isinstance(value, str):
        plain = re.fullmatch(r'[^",@\[\]{}\s][^",@\[\]{}]*', value) and value == value.strip()
        if plain and _reads_back(value, value):
            return value
        return json_text(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return json_text(value)


def _reads_back(text: str, value: Any) -> bool:
    try:
        return parse_yaml(text, "") == value
    except UserError:
        return False
