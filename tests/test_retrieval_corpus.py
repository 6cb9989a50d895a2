"""The corpus of 1,818 papers: the reader, on files that the tests write in its format."""

from __future__ import annotations

import lzma
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tasks import load, store
from tasks.base import Source, TaskError
from tasks.retrieval_aan1818 import RetrievalAAN
from tasks.retrieval_aan1818.corpus import EDGES, NETWORK, PAPERS, find, pair_codes, read
from tests.retrieval_data import cited, put, write

TASK = load("retrieval-aan1818")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))


def change(path: Path, number: int, line: str) -> None:
    """Replace one line of an xz file."""
    lines = lzma.decompress(path.read_bytes()).decode().splitlines()
    put(path, [*lines[: number - 1], line, *lines[number:]])


@pytest.mark.parametrize("below", ["", "aan"])
def test_the_corpus_is_found_and_read(tmp_path: Path, below: str) -> None:
    write(tmp_path / below)
    corpus = read(find(tmp_path), 9)
    assert len(corpus) == 200
    assert corpus.texts[:4] == [b"text of 0", b"text of 1", b"text of 3", b"text of 4"]
    old = [(i, j) for i, j in cited(300) if i % 3 < 2 and j % 3 < 2]
    place = {number: k for k, number in enumerate(i for i in range(300) if i % 3 < 2)}
    assert sorted(corpus.citations.tolist()) == sorted([place[i], place[j]] for i, j in old)
    assert len(corpus.linked) == len(old) + 2  # of the network's own two
    assert np.isin(pair_codes(np.array([[place[9], place[21]], [place[30], place[12]]]), 200), corpus.linked).all()


def bad_json(folder: Path) -> None:
    change(folder / PAPERS, 7, '{"id": "P006", "year"')


def twice(folder: Path) -> None:
    change(folder / PAPERS, 7, '{"id": "P001", "year": 1990, "text": "a"}')


def no_text(folder: Path) -> None:
    change(folder / PAPERS, 7, '{"id": "P006", "year": 1990, "text": ""}')


def stranger(folder: Path) -> None:
    change(folder / EDGES, 7, "P004\tP999\taan")


def two_columns(folder: Path) -> None:
    change(folder / EDGES, 7, "P004\tP001")


def network_columns(folder: Path) -> None:
    change(folder / NETWORK, 7, "P004 P001")


def truncated(folder: Path) -> None:
    path = folder / PAPERS
    path.write_bytes(path.read_bytes()[:-40])


def no_archive(folder: Path) -> None:
    (folder / NETWORK).write_bytes(b"plain text")


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (bad_json, rf"{PAPERS}:7: expected a JSON object with id, year and text"),
        (twice, rf"{PAPERS}:7: P001 comes twice"),
        (no_text, rf"{PAPERS}:7: P006 has no text"),
        (stranger, rf"{EDGES}:7: P004 or P999 is not in {PAPERS}"),
        (two_columns, rf"{EDGES}:7: 2 columns, expected 3"),
        (network_columns, rf"{NETWORK}:7: 1 columns, expected 2"),
        (truncated, rf"{PAPERS} is damaged"),
        (no_archive, rf"{NETWORK}:1: 1 columns, expected 2"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, spoil: Callable[[Path], None], complaint: str) -> None:
    spoil(write(tmp_path))
    with pytest.raises(TaskError, match=rf"^[^\n]*{complaint}[^\n]*$"):
        store.prepare(TASK, RetrievalAAN(), Source(raw=tmp_path))
    assert [path.suffix for path in (tmp_path / "home").iterdir()] == [".lock"]


def test_a_missing_file_or_folder_is_named(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / EDGES).unlink()
    with pytest.raises(TaskError, match=rf"no {PAPERS}, {EDGES}, {NETWORK} in {tmp_path} or .*aan: .*--raw DIR$"):
        find(tmp_path)
    with pytest.raises(TaskError, match=r"--raw DIR$"):
        find(None)
