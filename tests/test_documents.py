"""JSON and YAML of users: read, or refused in one line before anything is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from lra.core.documents import parse_json, parse_yaml, read_json, read_yaml, yaml_text
from lra.core.errors import UserError

DEEP = 100_000
NINES = "9" * DEEP


def refusal(path: Path) -> str:
    """The line that says why a file is not read."""
    with pytest.raises(UserError) as stop:
        read_json(path) if path.suffix == ".json" else read_yaml(path)
    line = str(stop.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("deep.json", "[" * DEEP, "nested too deep"),
        ("deep-mapping.json", '{"a":' * DEEP, "nested too deep"),
        ("deep.yaml", "- " * DEEP, "nested too deep"),
        ("deep-flow.yaml", "[" * 2000, "nested too deep"),
        ("deep-block.yaml", "\n".join(f"{' ' * level}a:" for level in range(102)), "nested too deep"),
        ("levels.json", "[" * 102 + "]" * 102, "nested too deep"),
        ("digits.json", f'{{"a": {NINES}}}', "thousands of digits"),
        ("digits.yaml", f"a: {NINES}", "thousands of digits"),
        ("twice.json", '{"b": 1, "a": 1, "a": 2}', "key 'a' stands twice: keep one"),
        ("twice.yaml", "b: {a: 1, a: 2}", "line 1, column 11: key 'a' stands twice: keep one"),
        ("nan.json", '{"a": NaN}', "a number is NaN, expected a finite one"),
        ("inf.json", '{"a": 1e999}', "a number is 1e999, expected a finite one"),
        ("bomb.yaml", "a: &a [x]\nb: [*a, *a]", "line 2, column 5: alias *a, expected the values themselves"),
        ("python.yaml", "a: !!python/object/apply:os.system [id]", "python/object/apply:os.system, expected plain"),
        ("own.yaml", "a: !mine 1", "tag !mine, expected plain values"),
        ("number.yaml", "1: 2", "line 1, column 1: key 1, expected text"),
        ("null.yaml", "~: 2", "key None, expected text"),
        ("list-key.yaml", "? [1, 2]\n: 3", "key [1, 2], expected text"),
        ("open.yaml", "a: [", "line 1, column 5: while parsing a flow node, expected the node content"),
        ("open.json", "{", "line 1, column 2: expecting property name enclosed in double quotes"),
        ("two.yaml", "a: 1\n---\nb: 2", "expected a single document"),
        ("control.yaml", "a: \x01", "unacceptable character"),
        ("empty.yaml", "", "is empty"),
        ("blank.json", " \n", "is empty"),
    ],
    ids=lambda value: value if len(value) < 20 else "",
)
def test_text_that_is_no_document_is_refused(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    assert said in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_a_file_that_is_no_text_is_refused(name: str, tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / name)
    (tmp_path / name).write_bytes(b"a: \xff\xfe")
    assert "byte 3 is not UTF-8" in refusal(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert "Is a directory" in refusal(tmp_path / name)


@pytest.mark.parametrize("name", ["a.json", "a.yaml"])
def test_no_more_is_read_than_a_document_has(name: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("wb") as file:
        file.truncate(5 * 10**9)  # takes no place on the disk
    assert "more than" in refusal(tmp_path / name)


def test_a_mark_of_byte_order_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, content in (("a.json", '{"a": 1}'), ("a.yaml", "a: 1")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + content.encode())
    assert read_json(tmp_path / "a.json") == read_yaml(tmp_path / "a.yaml") == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2.E+4", -20000.0),
        ("'1e-3'", "1e-3"),
        ("1.0e-05", 0.00001),
        ("1234e567x", "1234e567x"),
        ("2020-01-01", "2020-01-01"),
        ("true", True),
        ("~", None),
        ("<<", "<<"),
    ],
)
def test_a_scalar_of_yaml_is_what_it_looks_like(text: str, value: object) -> None:
    found = parse_yaml(text, "here")
    assert (found, type(found)) == (value, type(value))


def test_numbers_can_stay_as_they_are_printed(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: [58.40, 1e-3]")
    assert read_yaml(tmp_path / "a.yaml", as_text=True) == {"a": ["58.40", "1e-3"]}


def test_what_is_written_is_read_back() -> None:
    shared = [1, 2.5]
    values = {"commit": "1234e5678", "a": shared, "b": shared, "c": None, "d": {"é": True}, "e": 1e-30}
    assert parse_yaml(yaml_text(values), "here") == values


def test_json_is_read_as_it_is() -> None:
    assert parse_json('{"a": [1, 2.5e3, null, "é"], "b": {}}', "here") == {"a": [1, 2500.0, None, "é"], "b": {}}
