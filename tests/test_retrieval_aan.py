"""Retrieval on the corpus of 1,818 papers: the exchange of papers, and what the real pairs give away."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tasks import load, store
from tasks.base import SPLITS, Source, Split, TaskError
from tasks.retrieval.documents import text
from tasks.retrieval.references import by_popularity
from tasks.retrieval_aan1818 import RetrievalAAN
from tasks.retrieval_aan1818.corpus import Corpus, find, pair_codes, read
from tasks.retrieval_aan1818.pairs import Pairs, divide, mixed, rewire
from tests.retrieval_data import write

TASK = load("retrieval-aan1818")


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LRA_HOME", str(tmp_path / "home"))


def sides(pairs: np.ndarray) -> tuple[Counter[int], Counter[int]]:
    """How often each paper is the later, and how often the earlier, of a pair."""
    return Counter(pairs[:, 0].tolist()), Counter(pairs[:, 1].tolist())


def assert_alike(corpus: Corpus, splits: dict[str, Pairs]) -> None:
    """Negatives are new, distinct, back in time and no known citation, and have the citations' papers on each side."""
    parts = [part for pairs in splits.values() for part in (pairs.positives, pairs.negatives)]
    everything = pair_codes(np.concatenate(parts), len(corpus))
    assert len(everything) == len(np.unique(everything))
    for pairs in splits.values():
        assert len(pairs.positives) == len(pairs.negatives) > 0
        assert not np.isin(pair_codes(pairs.negatives, len(corpus)), corpus.linked).any()
        assert np.isin(pair_codes(pairs.positives, len(corpus)), corpus.linked).all()
        assert sides(pairs.negatives) == sides(pairs.positives)
        assert (pairs.negatives[:, 0] != pairs.negatives[:, 1]).all()
        years = corpus.years[pairs.negatives]
        assert (years[:, 0] >= years[:, 1]).all()


@pytest.mark.parametrize("by", ["papers", "pairs"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_small_splits_are_alike(tmp_path: Path, by: Any, seed: int) -> None:
    corpus = read(write(tmp_path), 100)
    assert_alike(corpus, divide(corpus, by, seed))


def test_a_citation_that_withstands_is_left_out_of_both_classes() -> None:
    """Papers 3 and 2 cite both 0 and 1: no exchange among those four ends in a new pair."""
    citations = np.array([[3, 0], [3, 1], [2, 0], [2, 1], [5, 4], [7, 6]])
    corpus = Corpus(
        texts=[b"a"] * 8,
        years=np.zeros(8, np.int64),
        citations=citations,
        linked=np.sort(pair_codes(np.concatenate([citations, [[3, 4], [3, 6]]]), 8)),
    )
    pairs = rewire(corpus, citations, np.zeros(0, np.int64), np.random.default_rng(0))
    assert pairs.dropped > 0
    assert len(pairs.positives) == len(pairs.negatives) == 6 - pairs.dropped
    assert sides(pairs.positives) == sides(pairs.negatives)
    assert not np.isin(pair_codes(pairs.negatives, 8), corpus.linked).any()


def test_any_beginning_is_balanced_and_holds_the_same_pairs(tmp_path: Path) -> None:
    corpus = read(write(tmp_path), 100)
    pairs = divide(corpus, "pairs", 0)["train"]
    examples, labels = mixed(pairs, "train", 0)
    assert np.abs(np.cumsum(2 * labels - 1)).max() == 1
    assert set(labels[::2].tolist()) == {0, 1}
    for label, part in enumerate((pairs.negatives, pairs.positives)):
        assert sorted(examples[labels == label].tolist()) == sorted(part.tolist())


def test_counts_take_the_beginning(tmp_path: Path) -> None:
    write(tmp_path)
    options = RetrievalAAN(split="pairs")
    whole = store.prepare(TASK, options, Source(raw=tmp_path)).splits
    some = store.prepare(TASK, replace(options, train=10, validation=4, test=6), Source(raw=tmp_path)).splits
    assert [len(some[split]) for split in SPLITS] == [10, 4, 6]
    for split in SPLITS:
        assert texts(some[split]) == texts(whole[split])[: len(some[split])]
    many = len(whole["test"])
    with pytest.raises(TaskError, match=f"has {many} test pairs, expected {many + 1}: set test lower$"):
        store.prepare(TASK, replace(options, test=many + 1), Source(raw=tmp_path))


def test_a_split_without_citations_is_told(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match="no two validation papers of retrieval-aan1818 cite each other"):
        store.prepare(TASK, RetrievalAAN(), Source(raw=write(tmp_path, papers=20)))


def texts(split: Split) -> list[tuple[bytes, bytes, int]]:
    """Both texts and the label of every example."""
    return [
        (text(split, int(a)), text(split, int(b)), int(label))
        for (a, b), label in zip(split.examples, split.labels, strict=True)
    ]


@pytest.fixture(scope="module")
def corpus(raw: Path) -> Corpus:
    return read(find(raw), 4096)


@pytest.fixture(scope="module")
def prepared(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> store.Prepared:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LRA_HOME", str(tmp_path_factory.mktemp("aan")))
        return store.prepare(TASK, RetrievalAAN(), Source(raw=raw))


def as_papers(corpus: Corpus, split: Split) -> np.ndarray:
    """The corpus's numbers of every example's papers, told by their texts."""
    places = {content: number for number, content in enumerate(corpus.texts)}
    assert len(places) == len(corpus)
    documents = np.array([places[text(split, i)] for i in range(len(split.offsets) - 1)])
    return documents[split.examples]


def test_the_real_corpus_has_its_numbers(corpus: Corpus) -> None:
    assert (len(corpus), len(corpus.citations), len(corpus.linked)) == (1711, 10_985, 10_994)


def test_real_papers_are_in_one_split_only_and_stored_once(corpus: Corpus, prepared: store.Prepared) -> None:
    papers = {split: set(as_papers(corpus, prepared.splits[split]).reshape(-1).tolist()) for split in SPLITS}
    assert not papers["train"] & papers["test"]
    assert not papers["validation"] & (papers["train"] | papers["test"])
    assert {split: len(prepared.splits[split].offsets) - 1 for split in SPLITS} == {s: len(papers[s]) for s in SPLITS}


def test_real_negatives_are_no_citations_and_alike(corpus: Corpus, prepared: store.Prepared) -> None:
    splits = {}
    for name, split in prepared.splits.items():
        examples = as_papers(corpus, split)
        positives, negatives = examples[split.labels == 1], examples[split.labels == 0]
        splits[name] = Pairs(positives=positives, negatives=negatives, dropped=0)
    assert_alike(corpus, splits)
    assert [len(splits[split].positives) for split in SPLITS] == [4112, 81, 1002]


def test_real_pairs_come_from_the_seed_alone(corpus: Corpus, prepared: store.Prepared) -> None:
    assert prepared.hash == "e99f5dfc2dcfb08693ebe0a39a28b88ed2d45397e5efae4c8eb1d593d51ba88b"
    again, other = divide(corpus, "papers", 0), divide(corpus, "papers", 1)
    examples, labels = mixed(again["test"], "test", 0)
    assert examples.tolist() == as_papers(corpus, prepared.splits["test"]).tolist()
    assert labels.tolist() == prepared.splits["test"].labels.tolist()
    assert again["test"].positives.tolist() != other["test"].positives.tolist()


def test_real_splits_by_pair_share_papers_but_no_pair(corpus: Corpus) -> None:
    splits = divide(corpus, "pairs", 0)
    assert_alike(corpus, splits)
    papers = {split: set(pairs.positives.reshape(-1).tolist()) for split, pairs in splits.items()}
    assert len(papers["test"] & papers["train"]) > 0.9 * len(papers["test"])


def test_popularity_says_little_but_would_betray_free_negatives(corpus: Corpus, prepared: store.Prepared) -> None:
    assert 0.48 < prepared.meta["references"]["popularity"] < 0.55
    free = {split: with_free_negatives(corpus, prepared.splits[split]) for split in ("train", "test")}
    assert by_popularity(free["train"], free["test"]) > 0.6


def with_free_negatives(corpus: Corpus, split: Split) -> Split:
    """The same citations with as many pairs of papers of the split, any two that do not cite each other."""
    rng = np.random.default_rng(0)
    examples = as_papers(corpus, split)
    positives = examples[split.labels == 1]
    drawn = rng.choice(np.unique(examples), (2 * len(positives), 2))
    strangers = ~np.isin(pair_codes(drawn, len(corpus)), corpus.linked) & (drawn[:, 0] != drawn[:, 1])
    negatives = drawn[strangers][: len(positives)]
    labels = np.repeat(np.array([1, 0], np.uint8), len(positives))
    return replace(split, examples=np.concatenate([positives, negatives]), labels=labels)


def test_references_say_what_needs_no_reading(prepared: store.Prepared) -> None:
    found = prepared.meta["references"]
    assert found["chance"] == found["majority"] == 0.5
    assert 0.5 < found["years between"] < 0.58
    assert 0.74 < found["shared words"] < 0.80


def test_the_picture_is_drawn(prepared: store.Prepared, tmp_path: Path) -> None:
    TASK.picture(RetrievalAAN(), prepared.splits, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
