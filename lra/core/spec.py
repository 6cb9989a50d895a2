"""One spelling of a mechanism with options: elfatt@block_size=64@layout=2d.

attention_impls/spec.py has the grammar. Here several stand with commas between. A folder is named by a path with a
slash; where it stands alone it needs no quotes, whatever signs it has.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import attention_impls
from attention_impls.base import AttentionError
from attention_impls.spec import EXPECTED, parse_at
from lra.core.documents import json_text, parse_yaml
from lra.core.errors import UserError


@dataclass(frozen=True)
class Spec:
    """A mechanism and those of its options that differ from its card's."""

    name: str
    """That of a folder in attention_impls, or the path of a folder elsewhere, which has a slash."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Spec:
        """The mechanism that the text names; UserError for none or several."""
        found = parse_specs(text)
        if len(found) != 1:
            raise UserError(f"--attn {text}: it names {len(found)} mechanisms, expected one")
        return found[0]

    def __str__(self) -> str:
        return _name(self.name) + self.suffix

    @property
    def suffix(self) -> str:
        """The options alone, as they follow the name."""
        return "".join(f"@{name}={_value(value)}" for name, value in self.options.items())

    @property
    def label(self) -> str:
        """The spelling for tables: of a folder only its last part."""
        return Path(self.name).name + self.suffix

    def covers(self, name: str, options: Mapping[str, Any]) -> bool:
        """Whether a mechanism with these options is what this asks for; an option that it does not name may be any."""
        return self.name == name and all(options.get(key) == value for key, value in self.options.items())


class Specs(tuple[Spec, ...]):
    """Several, of which `parse_specs` and `print_specs` are the spelling."""


def parse_specs(text: str) -> Specs:
    """The mechanisms that a text names with commas between, each once, or all of them for "all"."""
    if text.strip() == "all":
        return Specs(map(Spec, attention_impls.names()))
    if "/" in text and '"' not in text and Path(text).expanduser().is_dir():  # whatever signs its name has
        return Specs((Spec(text),))
    found, at = [], 0
    while at < len(text):
        if text[at] in ", ":
            at += 1
            continue
        spec, at = _parsed(text, at)
        found += [spec] if spec not in found else []
    if not found:
        raise UserError(f"--attn is empty: {EXPECTED}, or several with commas between")
    return Specs(found)


def print_specs(specs: Sequence[Spec]) -> str:
    """The inverse of `parse_specs`."""
    return ",".join(map(str, specs))


def _parsed(text: str, at: int) -> tuple[Spec, int]:
    """The mechanism that begins at a place of the text, and where the next one does."""
    try:
        name, options, end = parse_at(text, at, lambda value: parse_yaml(value, f"--attn {text}"))
    except AttentionError as error:
        raise UserError(f"--attn {text}: {error}") from error
    return Spec(name, options), end


def _name(name: str) -> str:
    """The name as `parse_specs` reads it back."""
    return name if re.fullmatch(r'[^",@]+', name) and name == name.strip() else json_text(name, ensure_ascii=False)


def _value(value: Any) -> str:
    """A value on one line, in quotes where it would be read as anything else."""
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
