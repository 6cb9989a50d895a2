from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks import inspection, store
from tasks import text as text_task
from tasks.base import SPLITS, Source, Split, TaskError
from tasks.text import TASK, Text, official, validation
from tests.text_data import EACH, REVIEWS, SMALL, as_archive, as_folder, as_lines, as_tfds


@pytest.fixture(autouse=True)
def miniature(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home of its own for every test, and, unless it uses the real data, an IMDB of eighty reviews."""
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    if "raw" not in request.fixturenames:
        monkeypatch.setattr(official, "EACH", EACH)
        monkeypatch.setattr(text_task, "HELD_OUT", 4)


def prepare(raw: Path, options: Text = SMALL) -> store.Prepared:
    return store.prepare(TASK, options, Source(raw=raw))


def texts(split: Split) -> list[bytes]:
    return [bytes(split.document(int(row)) - np.uint8(1)) for row in split.examples[:, 0]]


@pytest.mark.parametrize("form", [as_folder, as_archive, as_lines, as_tfds])
def test_every_form_of_the_source_gives_the_same_examples(
    form: Callable[[Path], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = prepare(as_folder(tmp_path / "first"))
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "second home"))
    ready = prepare(form(tmp_path / "second"))
    assert ready.hash == expected.hash
    assert str(tmp_path / "second") in ready.meta["origin"]


def test_tokens_are_bytes_plus_one_cut_at_the_length(tmp_path: Path) -> None:
    ready = prepare(as_folder(tmp_path / "raw"))
    found = Counter(text for split in SPLITS for text in texts(ready.splits[split]))
    assert found == Counter(text.strip().encode()[:64] for text in REVIEWS.values())
    assert max(int(ready.splits[split].tokens.max()) for split in SPLITS) == "é".encode()[0] + 1
    for split, count in (("train", 36), ("validation", 4), ("test", 40)):
        assert np.bincount(ready.splits[split].labels).tolist() == [count // 2] * 2


def test_a_smaller_count_is_the_beginning(tmp_path: Path) -> None:
    raw = as_folder(tmp_path / "raw")
    many, few = prepare(raw), prepare(raw, replace(SMALL, train=7, test=9))
    for split, count in (("train", 7), ("validation", 4), ("test", 9)):
        assert texts(few.splits[split]) == texts(many.splits[split])[:count]


def test_the_seed_chooses_what_is_held_out(tmp_path: Path) -> None:
    raw = as_folder(tmp_path / "raw")
    first, second = (set(texts(prepare(raw, replace(SMALL, seed=seed)).splits["validation"])) for seed in (0, 1))
    assert first != second


def test_validation_on_the_test_set_is_marked(tmp_path: Path) -> None:
    options = Text(train=40, validation=40, test=40, max_length=64, validation_from="test")
    ready = prepare(as_folder(tmp_path / "raw"), options)
    assert texts(ready.splits["validation"]) == texts(ready.splits["test"])
    assert "validated on the test set" in ready.meta["description"]
    assert "TEST SET" in validation(options)


def test_more_than_there_is_cannot_be_asked_for() -> None:
    with pytest.raises(TaskError, match=r"data\.train is 25,000, expected at most [\d,]+: ask for fewer"):
        TASK.check(Text(train=25_000, validation=4))
    TASK.check(Text(train=25_000, validation=25_000, validation_from="test"))


def test_a_missing_review_is_told(tmp_path: Path) -> None:
    raw = as_folder(tmp_path / "raw")
    next((raw / "aclImdb" / "test" / "pos").iterdir()).unlink()
    with pytest.raises(TaskError, match="holds 19 test/pos reviews, expected 20: restore it"):
        prepare(raw)


@pytest.mark.parametrize("form", [as_archive, as_lines])
def test_a_truncated_file_is_told(form: Callable[[Path], Path], tmp_path: Path) -> None:
    raw = form(tmp_path / "raw")
    path = raw if raw.is_file() else raw / "imdb" / "test.jsonl.xz"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TaskError, match="restore it"):
        prepare(raw)
    assert not list((tmp_path / "home").glob("text-*/"))


def test_nothing_here_and_no_network(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"aclImdb_v1\.tar\.gz is needed, .* --raw DIR"):
        prepare(tmp_path)


def test_a_bag_of_bytes_is_scored_on_test(tmp_path: Path) -> None:
    found = prepare(as_folder(tmp_path / "raw")).meta["references"]
    assert found["chance"] == found["majority"] == 0.5
    assert found["byte counts"] > 0.9  # the miniature spells its label


def test_real_reviews(raw: Path) -> None:
    ready = prepare(raw, Text())
    lengths = {split: np.diff(ready.splits[split].offsets) for split in SPLITS}
    assert {split: len(ready.splits[split]) for split in SPLITS} == {"train": 22500, "validation": 2500, "test": 25000}
    assert np.median(lengths["test"]) == 963
    assert np.median(np.concatenate([lengths["train"], lengths["validation"]])) == 979
    digests = {split: inspection.example_digests(ready.splits[split]) for split in SPLITS}
    both = np.concatenate([digests["train"], digests["validation"]])
    assert len(both) - len(set(both.tolist())) == 96
    assert len(digests["test"]) - len(set(digests["test"].tolist())) == 199
    assert len(inspection.shared(both, digests["test"])) == 123
    assert not inspection.shared(digests["train"], digests["validation"])
    assert 0.55 < ready.meta["references"]["byte counts"] < 0.65
