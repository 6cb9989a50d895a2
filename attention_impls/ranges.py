"""Checks of types and ranges that fields declare, such as `Annotated[float, Gt(0)]`.

Every number must be finite, whatever its field declares: JSON has no NaN, and no setting of a run is infinite.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from reprlib import Repr
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt

WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    str: "text",
    NoneType: "null",
    list: "a list",
    tuple: "a list",
    dict: "a mapping",
    Any: "a finite number",  # only numbers that are not finite are refused for Any
}
SIDES = {Ge: "at least", Gt: "more than", Le: "at most", Lt: "less than"}

_short = Repr()
_short.maxstring = 60


def problems(value: Any, name: str = "") -> list[str]:
    """The problems of a dataclass and of everything in it, one line each: "train.beta1 is 1.5, expected …".

    `name` and a dot precede the fields' names.
    """
    return list(_fields(type(value), {field.name: getattr(value, field.name) for field in fields(value)}, name))


def problems_in(values: Mapping[str, Any], kind: type, name: str = "") -> list[str]:
    """The problems of plain values for the dataclass `kind`. A list may replace a tuple."""
    return list(_fields(kind, values, name))


def shown(value: Any) -> str:
    """A value for a message: one line of about 60 characters at most."""
    if isinstance(value, int) and abs(value) >= 10**20:
        return f"a whole number of {math.ceil(value.bit_length() * math.log10(2))} digits"
    return _short.repr(value)


def _fields(kind: type, values: Mapping[str, Any], name: str) -> Iterator[str]:
    for field, hint in _hints(kind).items():
        if field in values:
            yield from _problems(values[field], hint, f"{name}.{field}" if name else field)


@cache
def _hints(kind: type) -> dict[str, Any]:
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: hints[field.name] for field in fields(kind)}


def _problems(value: Any, hint: Any, name: str) -> Iterator[str]:
    kind, bounds = _parts(hint)
    if is_dataclass(value) and not isinstance(value, type):
        yield from problems(value, name)
    elif get_origin(kind) in (Union, UnionType):
        yield from _alternatives(value, get_args(kind), name)
    elif isinstance(value, list | tuple | Mapping) and _fits(value, kind):
        yield from _items(value, kind, name)
    elif not _fits(value, kind):
        yield f"{name} is {shown(value)}, expected {_words(kind, bounds)}"
    elif not all(_holds(value, bound) for bound in bounds):
        yield f"{name} is {shown(value)}, expected {' and '.join(map(_bound, bounds))}"


def _items(value: Any, kind: Any, name: str) -> Iterator[str]:
    """The problems of the elements of a list, a tuple or a mapping."""
    hints = [hint for hint in get_args(kind) if hint is not ...] or [Any]
    if isinstance(value, Mapping):
        for key, each in value.items():
            yield from _problems(each, hints[-1], f"{name}.{key}")
    else:
        for number, each in enumerate(value):
            yield from _problems(each, hints[min(number, len(hints) - 1)], f"{name}[{number}]")


def _alternatives(value: Any, hints: Sequence[Any], name: str) -> Iterator[str]:
    """The problems of a union. It has none if one of its types has none."""
    found = {hint: list(_problems(value, hint, name)) for hint in hints}
    if not all(found.values()):
        return
    if fitting := [hint for hint in hints if _fits(value, _parts(hint)[0])]:
        yield from found[fitting[0]]  # the type fits, so show the problems inside
    else:
        yield f"{name} is {shown(value)}, expected {' or '.join(_words(*_parts(hint)) for hint in reversed(hints))}"


def _parts(hint: Any) -> tuple[Any, list[Any]]:
    """A hint without Annotated, and the bounds that Annotated declares."""
    if get_origin(hint) is not Annotated:
        return hint, []
    kind, *metadata = get_args(hint)
    flat = [part for each in metadata for part in (each if isinstance(each, Interval) else [each])]
    return kind, [bound for bound in flat if type(bound) in SIDES]


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value has this type. A bool is not a number; a whole number may be a float."""
    if isinstance(value, int | float) and not isinstance(value, bool) and not _finite(value, kind):
        return False
    origin = get_origin(kind) or kind
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in get_args(kind))
    if origin is float or origin is int:
        return isinstance(value, (int, float) if origin is float else int) and not isinstance(value, bool)
    if origin in (list, tuple, Sequence):
        return isinstance(value, list | tuple) and _as_many(value, get_args(kind) if origin is tuple else ())
    return origin is Any or not isinstance(origin, type) or isinstance(value, origin)


def _finite(value: int | float, kind: Any) -> bool:
    """Whether a number is finite and, for a float, not too large."""
    if isinstance(value, int) and kind is not float:
        return True
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _as_many(value: Sequence[Any], hints: Sequence[Any]) -> bool:
    return not hints or ... in hints or len(value) == len(hints)


def _words(kind: Any, bounds: Sequence[Any]) -> str:
    origin = get_origin(kind) or kind
    if origin is Literal:
        return " or ".join(map(repr, get_args(kind)))
    words = WORDS.get(origin, getattr(origin, "__name__", str(origin)))
    if origin is tuple and ... not in (inner := get_args(kind)):
        words = f"{words} of {len(inner)}"
    return f"{words}, {' and '.join(map(_bound, bounds))}" if bounds else words


def _bound(bound: Any) -> str:
    limit = _limit(bound)
    return f"{SIDES[type(bound)]} {limit:,}" if isinstance(limit, int) else f"{SIDES[type(bound)]} {limit:g}"


def _limit(bound: Any) -> Any:
    return getattr(bound, type(bound).__name__.lower())


def _holds(value: Any, bound: Any) -> bool:
    limit = _limit(bound)
    if value == limit:
        return isinstance(bound, Ge | Le)
    return value > limit if isinstance(bound, Ge | Gt) else value < limit
