"""Retrieval: the reader of the released pairs, on files that the tests write in their format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import load, store
from tasks.base import SPLITS, Source, Split, TaskError
from tasks.retrieval import Retrieval, official
from tasks.retrieval.documents import text
from tasks.utf8 import VOCAB

TASK = load("retrieval")
COUNTS: dict[str, Any] = {"train": 40, "validation": 7, "test": 9}
Row = tuple[str, str, str, str, str]


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))


def paper(number: int) -> str:
    """A text in its escaped form; every third has a quote, which is no delimiter."""
    words = " ".join(f"word{(number * k) % 11}{chr(ord('k') + number)}" for k in range(1, 20 + number))
    return f"b'Title {number}\\\\nAbstract \\\\xe2\\\\x80\\\\x9c {words}" + ("\"'" if number % 3 == 0 else "'")


def rows(split: str, count: int) -> list[Row]:
    """Pairs of a few papers."""
    rng = np.random.default_rng(SPLITS.index(split))
    drawn = rng.integers(0, 12, (count, 2))
    return [(f"{k % 2}.0", f"P{a}", f"P{b}", paper(a), paper(b)) for k, (a, b) in enumerate(drawn.tolist())]


def write(folder: Path, counts: dict[str, int] = COUNTS, ending: str = "\n") -> dict[str, list[Row]]:
    """The three files of the release."""
    folder.mkdir(parents=True, exist_ok=True)
    written = {split: rows(split, count) for split, count in counts.items()}
    for split, name in official.FILES.items():
        content = "".join("\t".join(row) + ending for row in written[split])
        (folder / name).write_text(content, newline="")
    return written


def read(raw: Path | None, **options: Any) -> dict[str, Split]:
    """What is prepared from the files in that folder."""
    return dict(store.prepare(TASK, Retrieval(**{**COUNTS, **options}), Source(raw=raw)).splits)


def pairs(split: Split) -> list[tuple[int, str, str]]:
    """Label and texts of every example."""
    texts = [[text(split, int(number)).decode() for number in example] for example in split.examples]
    return [(int(label), first, second) for label, (first, second) in zip(split.labels, texts, strict=True)]


@pytest.mark.parametrize("below", ["", "tsv_data", "lra_release/lra_release/tsv_data", "lra_release/tsv_data", "aan"])
def test_files_are_found_and_read_back_as_they_stand(tmp_path: Path, below: str) -> None:
    written = write(tmp_path / below, ending="\r\n" if below == "aan" else "\n")
    found = read(tmp_path)
    for split in SPLITS:
        assert pairs(found[split]) == [(int(row[0][0]), row[3], row[4]) for row in written[split]]
        assert found[split].examples.shape == (COUNTS[split], 2)


def test_a_document_is_stored_once_a_split_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = write(tmp_path)
    found = read(tmp_path)
    for split in SPLITS:
        texts = [side for row in written[split] for side in row[3:]]
        documents = [text(found[split], i).decode() for i in range(len(found[split].offsets) - 1)]
        assert documents == list(dict.fromkeys(texts))
    whole = store.prepare(TASK, Retrieval(**COUNTS), Source()).hash
    monkeypatch.setattr(official, "BLOCK", 3)
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "another"))
    assert store.prepare(TASK, Retrieval(**COUNTS), Source(raw=tmp_path)).hash == whole


def test_texts_are_cut_to_max_length(tmp_path: Path) -> None:
    written = write(tmp_path)
    found = read(tmp_path, max_length=25)
    assert pairs(found["test"])[0][1:] == tuple(side[:25] for side in written["test"][0][3:])
    assert np.diff(found["test"].offsets).max() == 25 == TASK.shape(Retrieval(max_length=25)).max_length


def test_tokens_are_bytes_plus_one(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "new_aan_pairs.test.tsv"
    path.write_bytes(b"1.0\tA\tB\t\xf4\x8f\xbf\xbf\ta b\n")
    found = read(tmp_path, test=1)["test"]
    assert found.document(0).tolist() == [0xF5, 0x90, 0xC0, 0xC0]
    assert found.document(1).tolist() == [98, 33, 99]
    assert VOCAB == 0xF5 + 1


def test_counts_take_the_beginning_of_the_files(tmp_path: Path) -> None:
    write(tmp_path)
    assert pairs(read(tmp_path, train=11)["train"]) == pairs(read(tmp_path)["train"])[:11]
    with pytest.raises(TaskError, match=r"train\.tsv has 40 pairs, expected 41: set train lower$"):
        read(tmp_path, train=41)


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        (17_436, r"17,436 rows, but the released file has 17,437 \(was its first row taken for a header\?\)"),
        (17_435, "17,435 rows, but the released file has 17,437: restore"),
        (17_438, "more than 17,437 rows, but the released file has 17,437: restore"),
        (17_437, None),
    ],
)
def test_the_released_counts_are_held(tmp_path: Path, rows: int, complaint: str | None) -> None:
    write(tmp_path)
    (tmp_path / "new_aan_pairs.test.tsv").write_text("0.0\ta\tb\tb'one'\tb'two'\n1.0\ta\tb\tb'two'\tb'one'\n" * 8720)
    path = tmp_path / "new_aan_pairs.test.tsv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:rows]))
    if complaint is None:
        assert len(read(tmp_path, test=17_437)["test"]) == rows
    else:
        with pytest.raises(TaskError, match=rf"^[^\n]*test\.tsv has {complaint}[^\n]*$"):
            read(tmp_path, test=17_437)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"1.0\tA\tB\tb'one'", "4 tab-separated columns, expected 5"),
        (b"1.0\tA\tB\tb'one'\tb'two'\tb'three'", "6 tab-separated columns, expected 5"),
        (b"1\tA\tB\tb'one'\tb'two'", "the label is '1', expected 0.0 or 1.0"),
        (b"label\tid1\tid2\ttext1\ttext2", "the label is 'label', expected 0.0 or 1.0"),
        (b"1.0\tA\tB\t\tb'two'", "a text is empty"),
        (b"1.0\tA\tB\tone\t\xff\xfe", "a text is not UTF-8"),
        (b"", "1 tab-separated columns, expected 5"),
    ],
)
def test_a_bad_row_is_named(tmp_path: Path, line: bytes, complaint: str) -> None:
    write(tmp_path)
    path = tmp_path / "new_aan_pairs.eval.tsv"
    lines = path.read_bytes().splitlines()
    path.write_bytes(b"\n".join([*lines[:2], line, *lines[3:], b""]))
    with pytest.raises(TaskError, match=rf"^[^\n]*new_aan_pairs\.eval\.tsv:3: {complaint}[^\n]*$"):
        read(tmp_path)
    assert not list((tmp_path / "home").glob("*/meta.json"))


def test_a_file_without_lines_does_not_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path)
    monkeypatch.setattr(official, "LONGEST_LINE", 1000)
    (tmp_path / "new_aan_pairs.test.tsv").write_text("1.0\tA\tB\tb'" + "x" * 5000)
    with pytest.raises(TaskError, match=r"test\.tsv:1: 4 tab-separated columns"):
        read(tmp_path)


def test_without_files_the_free_alternative_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "new_aan_pairs.eval.tsv").unlink()
    for raw in (tmp_path, None):
        with pytest.raises(TaskError, match=r"lra_release\.gz.*--task retrieval-aan1818") as caught:
            read(raw)
        assert "\n" not in str(caught.value)


def test_references_and_picture(tmp_path: Path) -> None:
    write(tmp_path)
    ready = store.prepare(TASK, Retrieval(**COUNTS), Source(raw=tmp_path))
    found = ready.meta["references"]
    assert found["majority"] == pytest.approx(np.mean(ready.splits["test"].labels == 0))
    assert list(found) == ["chance", "majority", "popularity", "shared words"]
    TASK.picture(Retrieval(**COUNTS), ready.splits, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"


def test_shared_words_are_seen(tmp_path: Path) -> None:
    """Pairs of the same paper against pairs of different ones: the words decide all of them."""
    write(tmp_path)
    for name in official.FILES.values():
        lines = [f"{int(k % 2)}.0\tA\tB\t{paper(k % 9)}\t{paper((k + 1 - k % 2) % 9)}\n" for k in range(40)]
        (tmp_path / name).write_text("".join(lines))
    ready = store.prepare(TASK, Retrieval(**COUNTS), Source(raw=tmp_path))
    assert ready.meta["references"]["shared words"] == 1.0
