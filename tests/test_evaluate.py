"""A finished run's weights on examples of one's choice."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small import Quiet, place, smoke_run

from lra.cli.evaluate import _short
from lra.cli.main import main
from lra.scores.examples import bins, mcnemar
from lra.training import data, record
from lra.training.trainer import train
from tasks.listops.grammar import depth, encode


def trained(results: Path, seed: int = 0, backend: str | None = None) -> Path:
    run = replace(smoke_run(attn="linear", backend=backend), seed=seed)
    return train(run, data.prepare(run.task, run.data, data.source(None, 1)), place(results), Quiet())[1]


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_its_test_accuracy_is_the_records(backend: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip(backend)
    path = trained(tmp_path, backend=backend)
    own = record.load(path)
    assert own.weights
    assert (tmp_path / own.weights).is_file()
    assert main(["evaluate", str(path)]) == 0
    shown = f"{100 * own.test_accuracy:.1f}"
    assert capsys.readouterr().out.count(shown) >= 2
    (saved,) = (tmp_path / "evaluations").glob("*-test-*.npz")
    with np.load(saved) as arrays:
        assert arrays["example"].tolist() == list(range(own.test_examples))
        assert (arrays["logits"].argmax(1) == arrays["prediction"]).all()
        assert (arrays["prediction"] == arrays["label"]).mean() == pytest.approx(own.test_accuracy)
        assert arrays["tokens"].min() >= 8
        assert 1 <= arrays["depth"].min() <= arrays["depth"].max() <= 4
    (picture,) = (tmp_path / "evaluations").glob("*.svg")
    assert "accuracy by tokens" in picture.read_text(encoding="utf-8")


def test_two_runs_meet_on_the_same_examples_of_other_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (trained(tmp_path, seed) for seed in (0, 1))
    words = ["--split", "validation", "--data", "max_length=32,validation=20"]
    assert main(["evaluate", str(one), str(other), *words]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "8–32 tokens" in said
    assert "on the same 20 examples" in said
    folder = tmp_path / "evaluations"
    (picture,) = folder.glob("*.svg")
    assert picture.name.startswith(f"{one.stem}-vs-{other.stem}-validation-")
    assert main(["evaluate", str(other), *words]) == 0
    assert len(list(folder.glob("*.svg"))) == 2
    again = shutil.copytree(one.parent, tmp_path / "again") / one.name
    capsys.readouterr()
    assert main(["evaluate", str(one), str(again), *words, "--out", str(tmp_path / "out")]) == 0
    assert "+0.0 ± 0.0 points" in " ".join(capsys.readouterr().out.split())
    assert len(list((tmp_path / "out").glob("*.npz"))) == 2


def test_files_of_records_with_long_names_have_names_of_their_own(tmp_path: Path) -> None:
    stems = [_short(name * 80) for name in ("字", "éa", "éb")]
    assert len(set(stems)) == 3
    for stem in stems:
        assert stem.isprintable()
        (tmp_path / f".{stem}-validation-01234567.npz.{'h' * 64}.4194304.01234567.part").touch()
    assert _short("é" * 60) == "é" * 60


def test_what_cannot_be_scored_is_refused_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (trained(tmp_path, seed) for seed in (0, 1))
    weights = {path: tmp_path / str(record.load(path).weights) for path in (one, other)}

    def refused(*words: str) -> str:
        assert main(["evaluate", *words]) == 2
        return " ".join(capsys.readouterr().err.split())

    assert "at most 64 tokens" in refused(str(one), "--data", "max_length=99")
    assert "did you mean 'max_length'" in refused(str(one), "--data", "max_lengh=9")
    assert "expected OPTION=VALUE" in refused(str(one), "--data", "max_length")
    assert "evaluate got 0 records, expected one or two" in refused()
    assert "--weights needs a single record" in refused(str(one), str(other), "--weights", "x")
    assert "expected those of" in refused(str(one), "--weights", str(weights[other]))
    assert "free some space" in refused(str(one), "--out", str(one / "within"))
    weights[one].unlink()
    assert "train the run again" in refused(str(one))


def test_bins_are_alike_in_size_and_part_no_equal_values() -> None:
    trait = np.repeat([1, 2, 3, 9], [50, 10, 30, 10])
    found = bins(trait < 3, trait, most=4)
    assert [(each.low, each.high, each.examples, each.accuracy) for each in found] == [
        (1, 1, 50, 1.0),
        (2, 3, 40, 0.25),
        (9, 9, 10, 0.0),
    ]
    assert sum(each.examples for each in bins(trait < 3, trait)) == len(trait)


def test_mcnemar_asks_only_where_runs_differ() -> None:
    first, second = np.zeros(100, bool), np.zeros(100, bool)
    first[:10], second[8:10] = True, True
    pair = mcnemar(first, second)
    assert (pair.first_only, pair.second_only, pair.difference) == (8, 0, 0.08)
    assert pair.p == pytest.approx(2 * 0.5**8)
    assert pair.error == pytest.approx(np.std(first.astype(float) - second) / 10)
    assert mcnemar(first, first).p == 1


@pytest.mark.parametrize(("text", "expected"), [("7", 0), ("[MAX 1 2 ]", 1), ("[MAX 1 [MIN 2 [SM 3 ] ] [MED 4 ] ]", 3)])
def test_depth_counts_the_operators_around_the_innermost(text: str, expected: int) -> None:
    assert depth(np.frombuffer(encode(text.encode()), np.uint8)) == expected
