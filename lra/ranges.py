"""Ranges of numbers, declared where a field is (`Annotated[float, Gt(0)]`) and checked here, for every dataclass.

A number has to be finite whatever its field declares: JSON has no NaN, and no setting of a run is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt


def problems(value: Any, name: str = "") -> list[str]:
    """What is out of range in a dataclass and all that it holds, a line each: "train.beta1 is 1.5, expected …".

    `name` stands before the fields' names, with a dot between.
    """
    return list(_problems(value, name, ()))


def _problems(value: Any, name: str, declared: Sequence[Any]) -> Iterator[str]:
    if is_dataclass(value) and not isinstance(value, type):
        for field_name, metadata in _declared(type(value)).items():
            inner = f"{name}.{field_name}" if name else field_name
            yield from _problems(getattr(value, field_name), inner, metadata)
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _problems(each, f"{name}.{key}", declared)
    elif isinstance(value, list | tuple):
        for number, each in enumerate(value):
            yield from _problems(each, f"{name}[{number}]", declared)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        bounds = _bounds(declared)
        if not math.isfinite(value):
            yield f"{name} is {value}, expected a finite number"
        elif not all(bound.holds(value) for bound in bounds):
            yield f"{name} is {value:g}, expected {' and '.join(bound.words for bound in bounds)}"


class _Bound:
    """One side of a range."""

    def __init__(self, words: str, limit: Any, least: bool, strict: bool) -> None:
        self.words = f"{words} {limit:g}"
        self._limit, self._least, self._strict = limit, least, strict

    def holds(self, value: int | float) -> bool:
        """Whether the number is on the right side."""
        if value == self._limit:
            return not self._strict
        return value > self._limit if self._least else value < self._limit


def _bounds(declared: Sequence[Any]) -> list[_Bound]:
    found = []
    for each in declared:
        for part in each if isinstance(each, Interval) else [each]:
            match part:
                case Ge(ge=limit):
                    found.append(_Bound("at least", limit, least=True, strict=False))
                case Gt(gt=limit):
                    found.append(_Bound("more than", limit, least=True, strict=True))
                case Le(le=limit):
                    found.append(_Bound("at most", limit, least=False, strict=False))
                case Lt(lt=limit):
                    found.append(_Bound("less than", limit, least=False, strict=True))
    return found


@cache
def _declared(kind: type) -> dict[str, tuple[Any, ...]]:
    """What Annotated says of each field, those of its union's or list's parts too."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: tuple(_metadata(hints[field.name])) for field in fields(kind)}


def _metadata(hint: Any) -> Iterator[Any]:
    yield from getattr(hint, "__metadata__", ())
    for part in getattr(hint, "__args__", ()):
        yield from _metadata(part)
