"""The layout of a record file, compiled once from the dataclass that declares it: types, ranges and known parts.

A dataclass declares the type and range of each field (annotated-types). An open mapping declares the parts that its
readers rely on: `Annotated[dict[str, Any], Holds(Parts)]`. So code that has the dataclass needs no further checks.
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
GREATEST = 2**63 - 1  # the greatest whole number of NumPy and of most JSON readers
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
    """Declares a regular expression that the whole text must match."""

    pattern: str
    """Uses only syntax that JSON Schema and Rust's regular expressions share."""

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> Any:
        return handler(source) | {"pattern": f"^{self.pattern}$"}


@dataclass(frozen=True)
class Holds:
    """Declares the known keys of a mapping by a dataclass. Fields without a default must be there; others may be."""

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
"""A name: text without line ends, control characters and marks that change the direction of writing."""
Whole = Annotated[int, Interval(ge=0, le=GREATEST)]
Count = Annotated[int, Interval(ge=1, le=GREATEST)]


@cache
def layout(kind: type[Kind]) -> TypeAdapter[Kind]:
    """Pydantic's adapter of a dataclass: types, ranges and field docstrings. Unknown fields are refused."""
    from pydantic import ConfigDict, TypeAdapter, with_config  # takes 0.2 s, so only commands that need it import it

    strict = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
    return TypeAdapter(with_config(strict)(kind))


def built(kind: type[Kind], values: Any) -> Kind:
    """The dataclass of these plain values. UserError names the first part that is wrong.

    Values are not converted, except whole numbers where a float is allowed.
    """
    from pydantic import ValidationError

    assert is_dataclass(kind)
    try:
        return layout(kind).validate_json(json_text(values))
    except ValidationError as error:
        raise UserError(_told(error.errors(include_url=False)[0])) from None
    except (ValueError, TypeError, RecursionError) as error:  # not JSON: NaN, or a list that contains itself
        raise UserError(f"it cannot be written as JSON: {one_line(str(error))}") from None


def _told(error: ErrorDetails) -> str:
    """Pydantic's message in the style of this project: "curve[1].step is -1, expected at least 1"."""
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
    """Convert ("curve", 1, "step") to "curve[1].step"."""
    parts = (f"[{each}]" if isinstance(each, int) else f".{one_line(each)}" for each in place)
    return "".join(parts).removeprefix(".")
