"""Types and ranges: whatever a field declares is held, and told in one line."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt

from attention_impls.ranges import problems, problems_in, shown

HUGE = 10**5000


@dataclass
class Inner:
    count: Annotated[int, Interval(ge=1, le=1_000_000)] = 1


@dataclass
class Fields:
    share: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    above: Annotated[float, Gt(1e-3)] = 1.0
    below: Annotated[float, Le(2)] = 1.0
    both: Annotated[int, Ge(2), Lt(5)] = 3
    maybe: Annotated[int, Ge(1)] | None = None
    many: list[Annotated[float, Gt(0)]] = field(default_factory=list)
    pair: tuple[int, int] = (0, 0)
    row: tuple[int, ...] = ()
    anything: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    either: int | float = 0
    kind: Literal["one", 2] = "one"
    switch: bool = False
    word: str = ""
    inner: Inner = field(default_factory=Inner)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("share", 0),
        ("share", 0.999),
        ("above", 10**300),
        ("below", -(10**9)),
        ("below", 2),
        ("both", 2),
        ("both", 4),
        ("maybe", None),
        ("maybe", HUGE),
        ("many", [1, 0.5]),
        ("pair", [1, 2]),
        ("row", [1, 2, 3]),
        ("anything", {"a": [None, {"b": "c"}], "d": True}),
        ("either", 0.5),
        ("kind", 2),
        ("word", "nan"),
    ],
    ids=shown,
)
def test_what_a_field_allows_is_no_problem(name: str, value: Any) -> None:
    assert problems_in({name: value}, Fields) == []


SHARE = "a finite number, at least 0 and less than 1"


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("share", 1, "share is 1, expected at least 0 and less than 1"),
        ("share", -1e-9, "share is -1e-09, expected at least 0 and less than 1"),
        ("share", math.nan, f"share is nan, expected {SHARE}"),
        ("share", -math.inf, f"share is -inf, expected {SHARE}"),
        ("share", True, f"share is True, expected {SHARE}"),
        ("share", "0.5", f"share is '0.5', expected {SHARE}"),
        ("share", None, f"share is None, expected {SHARE}"),
        ("share", HUGE, f"share is a whole number of 5001 digits, expected {SHARE}"),
        ("above", 1e-3, "above is 0.001, expected more than 0.001"),
        ("below", 3, "below is 3, expected at most 2"),
        ("both", 5, "both is 5, expected at least 2 and less than 5"),
        ("both", 3.0, "both is 3.0, expected a whole number, at least 2 and less than 5"),
        ("maybe", 0, "maybe is 0, expected at least 1"),
        ("maybe", False, "maybe is False, expected null or a whole number, at least 1"),
        ("many", 3, "many is 3, expected a list"),
        ("many", [1, 0], "many[1] is 0, expected more than 0"),
        ("pair", [1], "pair is [1], expected a list of 2"),
        ("row", [1, "x"], "row[1] is 'x', expected a whole number"),
        ("anything", [], "anything is [], expected a mapping"),
        ("anything", {"a": [0, {"b": math.inf}]}, "anything.a[1].b is inf, expected a finite number"),
        ("counts", {"a": 1.5}, "counts.a is 1.5, expected a whole number"),
        ("either", math.nan, "either is nan, expected a finite number or a whole number"),
        ("kind", 2.0, "kind is 2.0, expected 'one' or 2"),
        ("switch", 1, "switch is 1, expected true or false"),
        ("word", 1, "word is 1, expected text"),
        ("inner", Inner(count=0), "inner.count is 0, expected at least 1 and at most 1,000,000"),
        ("inner", {}, "inner is {}, expected Inner"),
    ],
    ids=shown,
)
def test_what_a_field_does_not_allow_is_told(name: str, value: Any, told: str) -> None:
    assert problems_in({name: value}, Fields, "part") == [f"part.{told}"]
    made = Fields()
    setattr(made, name, value)  # as a dataclass that was made elsewhere
    assert problems(made, "part") == [f"part.{told}"]


def test_every_problem_is_listed_and_a_missing_value_is_none() -> None:
    assert [line.split()[0] for line in problems(Fields(share=2, switch=0, many=[0, 0]))] == [  # type: ignore[arg-type]
        "share",
        "many[0]",
        "many[1]",
        "switch",
    ]
    assert problems_in({}, Fields) == []


@pytest.mark.parametrize(
    "value", ["x" * 1000, "a\nb", list(range(1000)), {"a": "y" * 1000}, HUGE, [[[[[[[[0]]]]]]]]], ids=shown
)
def test_a_value_is_shown_in_part_of_a_line(value: Any) -> None:
    assert len(shown(value)) < 100
    assert "\n" not in shown(value)
