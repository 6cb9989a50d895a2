"""The layout of a file of ours, compiled once from the dataclass that declares it: types, ranges and known parts.

A dataclass declares a field's type and range as everywhere (annotated-types). What is an open mapping names the parts
that its readers count on: `Annotated[dict[str, Any], Holds(Parts)]`. So whoever has the dataclass may trust all of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

from annotated_types import Interval, MaxLen

from attention_impls.ranges import shown
from lra.core.documents import json_text
from lra.core.errors import UserError
from lra.core.markup import one_line

if TYPE_CHECKING:
    from pydantic import TypeAdapter
    from pydantic_core import ErrorDetails

Kind = TypeVar("Kind")
GREATEST = 2**63 - 1  # a whole number of every machine; NumPy and most readers of JSON know no greater one
WORDS = {
    "greater than or equal to": "at least",
    "less than or equal to": "at most",
    "greater than": "more than",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text",
    "a valid boolean": "true or false",
    "a valid list": "a list",
    "a valid dictionary": "a mapping",
    "an object": "a mapping",
}


@dataclass(frozen=True)
class Matches:
    """Declares the regular expression that a text has to match as a whole."""

    pattern: str
    """Of the signs that JSON Schema and Rust's regular expressions read alike."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler(source) | {"pattern": f"^{self.pattern}$"}


@dataclass(frozen=True)
class Holds:
    """Declares what a mapping holds among other things: the fields of a dataclass, those without a default always."""

    parts: type

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        from pydantic_core import core_schema

        hints = get_type_hints(self.parts, include_extras=True)
        fields = {
            each.name: core_schema.typed_dict_field(
                handler.generate_schema(hints[each.name]), required=each.default is MISSING
            )
            for each in dataclasses.fields(self.parts)
        }
        return core_schema.typed_dict_schema(fields, extra_behavior="allow")


Line = Annotated[str, Matches(r"[^\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]*"), MaxLen(4096)]
"""Text without line ends, control characters and marks that turn the direction of writing: it names something."""
Whole = Annotated[int, Interval(ge=0, le=GREATEST)]
Count = Annotated[int, Interval(ge=1, le=GREATEST)]


@cache
def layout(kind: type[Kind]) -> TypeAdapter[Kind]:
    """What pydantic makes of a dataclass: types, ranges and the text under each field; no field is unknown."""
    from pydantic import ConfigDict, TypeAdapter, with_config  # 0.2 s, which other commands do without

    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    return TypeAdapter(with_config(strict)(kind))


def built(kind: type[Kind], values: Any) -> Kind:
    """The dataclass of these plain values; UserError, which names the first part that is wrong, where they do not fit.

    Nothing is converted, but a whole number where any number may stand.
    """
    from pydantic import ValidationError

    assert is_dataclass(kind)
    try:
        return layout(kind).validate_json(json_text(values))
    except ValidationError as error:
        raise UserError(_told(error.errors(include_url=False)[0])) from None
    except (ValueError, TypeError, RecursionError) as error:  # no JSON: NaN, or a list that holds itself
        raise UserError(f"it cannot be written as JSON: {one_line(str(error))}") from None


def _told(error: ErrorDetails) -> str:
    """pydantic's finding in the words of this house: "curve[1].step is -1, expected at least 1"."""
    name, message = _name(error["loc"]), error["msg"]
    if error["type"] in ("missing", "missing_argument", "missing_keyword_only_argument"):
        return f"it has no {name}"
    if error["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        return f"it has an unknown field {name}"
    if error["type"] == "json_invalid":
        return one_line(message)
    found, _, rest = message.partition(" should ")
    expected = rest.removeprefix("be ") if rest.startswith("be ") else f"it to {rest}" if rest else found
    for word, ours in WORDS.items():
        expected = expected.replace(word, ours)
    return f"{name or 'it'} is {shown(error['input'])}, expected {one_line(expected)}"


def _name(place: Sequence[int | str]) -> str:
    """("curve", 1, "step") -> "curve[1].step"."""
    parts = (f"[{each}]" if isinstance(each, int) else f".{one_line(each)}" for each in place)
    return "".join(parts).removeprefix(".")
