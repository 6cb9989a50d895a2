"""One spelling of a mechanism with options: the parser and the printer are inverses, in every place that takes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import attention_impls
from lra.core.config import resolve
from lra.core.errors import UserError
from lra.core.spec import Spec, parse_specs, print_specs

VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(max_size=12))
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(lambda name: name != "all")
PATHS = st.text(min_size=1, max_size=10).map(lambda text: f"/{text}")
SPECS = st.builds(Spec, st.one_of(NAMES, PATHS), st.dictionaries(NAMES, VALUES, max_size=3))


@given(st.lists(SPECS, min_size=1, max_size=3, unique_by=str))
def test_what_is_printed_is_read_back(specs: list[Spec]) -> None:
    found = parse_specs(print_specs(specs))
    assert found == tuple(specs)
    assert [[type(value) for value in each.options.values()] for each in found] == [
        [type(value) for value in each.options.values()] for each in specs
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("elfatt", [Spec("elfatt")]),
        ("elfatt@block-size=64@layout=2d", [Spec("elfatt", {"block_size": 64, "layout": "2d"})]),
        ("focused-linear, softmax@local_conv=true", [Spec("focused_linear"), Spec("softmax", {"local_conv": True})]),
        ("elfatt,,elfatt,", [Spec("elfatt")]),
        ('"/a,b"@x="y,z",linear', [Spec("/a,b", {"x": "y,z"}), Spec("linear")]),
        ("performer@epsilon=1e-4", [Spec("performer", {"epsilon": 1e-4})]),
    ],
)
def test_spellings(text: str, expected: list[Spec]) -> None:
    assert list(parse_specs(text)) == expected


def test_all_names_every_mechanism() -> None:
    assert [each.name for each in parse_specs("all")] == attention_impls.names()


def test_the_path_of_a_folder_stands_alone(tmp_path: Path) -> None:
    folder = tmp_path / "lin[v2],@x=1"
    folder.mkdir()
    assert parse_specs(str(folder)) == (Spec(str(folder)),)
    assert Spec(str(folder), {"y": 2}).label == "lin[v2],@x=1@y=2"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "--attn is empty"),
        ("elfatt@", "expected NAME@option=value"),
        ("elfatt@block_size", "expected NAME@option=value"),
        ("elfatt@block_size=", "expected NAME@option=value"),
        ("@x=1", "expected NAME@option=value"),
        ('"elfatt', "expected NAME@option=value"),
        ("elfatt@a=1@a=2", "option a is given twice: keep one"),
        ("elfatt@a=[1", "expected NAME@option=value"),
        ("elfatt@a={", "--attn elfatt@a={"),
    ],
)
def test_a_mistake_gets_one_line(text: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        parse_specs(text)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_one_is_asked_for_and_several_are_given() -> None:
    with pytest.raises(UserError, match="names 2 mechanisms, expected one"):
        Spec.parse("elfatt,softmax")


def test_a_preset_takes_the_options_of_a_spelling() -> None:
    options: Any = resolve("listops", "elfatt@block-size=16").options
    assert options.block_size == 16
    with pytest.raises(UserError, match="did you mean 'block_size'"):
        resolve("listops", "elfatt@blok_size=16")


def test_a_filter_covers_what_it_does_not_name() -> None:
    wanted = Spec("elfatt", {"block_size": 64})
    assert wanted.covers("elfatt", {"block_size": 64, "layout": "1d"})
    assert not wanted.covers("elfatt", {"block_size": 32})
    assert not wanted.covers("softmax", {"block_size": 64})
