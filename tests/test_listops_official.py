"""ListOps: the reader of the released files, on files that the tests write in their format."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lra.training import data
from tasks.base import SPLITS, Source, Split, TaskError
from tasks.listops import ListOps
from tasks.listops.grammar import CLOSE, MIN, WORDS, encode
from tests.listops_data import SHORT, build, documents

COUNTS = {"train": 40, "validation": 7, "test": 9}


def read(folder: Path | None, **counts: int) -> dict[str, Split]:
    """What the reader makes of the files in that folder."""
    return build(given=Source(raw=folder), source="official", **{**COUNTS, **SHORT, **counts})


def as_released(tokens: Iterable[int]) -> str:
    """An expression as the released files have it: each list a chain of pairs, every pair in round parentheses."""
    stack: list[list[str]] = [[]]
    for token in tokens:
        if MIN <= token < CLOSE:
            stack.append([WORDS[token]])
        elif token == CLOSE:
            text, *rest = [*stack.pop(), WORDS[CLOSE]]
            for word in rest:
                text = f"( {text} {word} )"
            stack[-1].append(text)
        else:
            stack[-1].append(WORDS[token])
    return stack[0][0]


def write(folder: Path, splits: dict[str, Split]) -> None:
    """The three files of the release."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, name in {"train": "train", "validation": "val", "test": "test"}.items():
        rows = zip(map(as_released, documents(splits[split])), splits[split].labels, strict=True)
        lines = ["Source\tTarget", *(f"{source}\t{target}" for source, target in rows)]
        (folder / f"basic_{name}.tsv").write_text("".join(f"{line}\r\n" for line in lines), newline="")


@pytest.fixture(scope="module")
def written() -> dict[str, Split]:
    return build(**COUNTS, **SHORT)


def test_the_form_that_is_written_is_the_released_one() -> None:
    assert as_released(encode(b"[MAX 4 [MIN 2 3 ] 0 ]")) == "( ( ( ( [MAX 4 ) ( ( ( [MIN 2 ) 3 ) ] ) ) 0 ) ] )"


@pytest.mark.parametrize(
    "below", ["", "listops-1000", "lra_release/lra_release/listops-1000", "lra_release/listops-1000", "listops"]
)
def test_files_are_found_and_read_back(tmp_path: Path, written: dict[str, Split], below: str) -> None:
    write(tmp_path / below, written)
    found = read(tmp_path)
    for split in SPLITS:
        assert documents(found[split]) == documents(written[split])
        assert found[split].labels.tolist() == written[split].labels.tolist()


def test_counts_take_the_beginning_of_the_files(tmp_path: Path, written: dict[str, Split]) -> None:
    write(tmp_path, written)
    assert documents(read(tmp_path, train=11)["train"]) == documents(written["train"])[:11]
    with pytest.raises(TaskError, match=r"basic_train\.tsv has 40 expressions, expected 41: set train lower$"):
        read(tmp_path, train=41)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("( ( ( [MAX 4 ) 5 ) ] )\t4", "value 5, its target is 4"),
        ("( ( ( [MAX 4 ) 5 ) ] )\t10", "target is '10', expected a tab and one digit"),
        ("( ( ( [MAX 4 ) 5 ) ] )", "target is '', expected a tab and one digit"),
        ("( ( ( [TOP 4 ) 5 ) ] )\t5", r"unknown token '\[TOP'"),
        ("( ( ( [MAX 14 ) 5 ) ] )\t5", "unknown token '14'"),
        ("( ( [MAX 4 ) 5 )\t5", "a list is never closed"),
        (f"( ( [MAX {'4 ' * 63}) ] )\t4", "65 tokens, at most 64 fit"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, written: dict[str, Split], line: str, complaint: str) -> None:
    write(tmp_path, written)
    path = tmp_path / "basic_val.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:2], line, *lines[3:], ""]))
    with pytest.raises(TaskError, match=rf"^[^\n]*basic_val\.tsv:3: [^\n]*{complaint}[^\n]*$"):
        read(tmp_path)


def test_a_missing_header_file_or_folder_is_named(tmp_path: Path, written: dict[str, Split]) -> None:
    write(tmp_path, written)
    path = tmp_path / "basic_test.tsv"
    path.write_text(path.read_text().split("\n", 1)[1])
    with pytest.raises(TaskError, match=r"basic_test\.tsv:1: expected the header"):
        read(tmp_path)
    path.unlink()
    with pytest.raises(TaskError, match=r"no basic_train\.tsv, basic_val\.tsv, basic_test\.tsv in"):
        read(tmp_path)
    with pytest.raises(TaskError, match=r"need a folder: name it with --raw DIR"):
        read(None)


@pytest.mark.parametrize(
    ("source", "first", "again"),
    [
        ("official", None, "--raw {} is not read: the data is prepared already, in {}"),
        ("generated", *["--raw {} is not read: listops is generated; add --data.source official to read"] * 2),
    ],
)
def test_raw_files_that_are_not_read_are_told(
    source: Any,
    first: str | None,
    again: str,
    written: dict[str, Split],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    write(tmp_path, written)
    options = ListOps(source=source, **COUNTS, **SHORT)
    place = data.store.folder(data.tasks.load("listops"), options)
    for expected in (first, again):
        data.prepare("listops", options, data.source(tmp_path, 1))
        said = capsys.readouterr().out
        assert (expected or "").format(tmp_path, place) in said
        assert ("not read" in said) == bool(expected)
    monkeypatch.setenv("LRA_RAW", str(tmp_path))
    data.prepare("listops", options, data.source(None, 1))
    assert "not read" not in capsys.readouterr().out
