"""Dataclasses from plain values that a user gave: unknown and missing keys, wrong types and ranges are refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any

import dacite

from attention_impls.ranges import problems_in, shown
from lra.core.errors import UserError, did_you_mean

TOLD = 3  # the most problems in one message


def strict(kind: type, values: Any, name: str, where: str, later: Mapping[str, Any]) -> Any:
    """One part of a run from plain values; fields that are missing there come from `later`."""
    require_keys(kind, values, name, where)
    refuse(problems_in(values, kind, name), where)
    return dacite.from_dict(kind, {**later, **values}, dacite.Config(cast=[tuple, float]))


def require_keys(kind: type, values: Any, name: str, where: str) -> None:
    """Raise UserError for values that are not a mapping of the dataclass's fields: unknown or missing keys."""
    title = f"{where}: {name}" if name else where
    if not isinstance(values, Mapping):
        raise UserError(f"{title} is {shown(values)}, expected a mapping of {', '.join(_names(kind))}")
    if unknown := [key for key in values if key not in _names(kind)]:
        key = unknown[0]
        hint = did_you_mean(key, _names(kind))
        raise UserError(f"{title}: unknown key {shown(key)}:{hint} available: {', '.join(_names(kind))}")
    needed = [field.name for field in fields(kind) if field.default is MISSING and field.default_factory is MISSING]
    if missing := [key for key in needed if key not in values]:
        raise UserError(f"{title} has no {', '.join(missing)}, expected {', '.join(_names(kind))}")


def _names(kind: type) -> list[str]:
    return [field.name for field in fields(kind)]


def refuse(found: list[str], where: str = "") -> None:
    """Raise UserError with the problems in one line, if there are any."""
    if found:
        more = f"; and {len(found) - TOLD} more" if len(found) > TOLD else ""
        raise UserError(f"{where}{': ' if where else ''}{'; '.join(found[:TOLD])}{more}")
