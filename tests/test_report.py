"""The page as a file: the same bytes, nothing from a network, nothing unescaped; and a record as a model-index."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import zlib
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path

import pytest
import yaml
from board_records import made, put, write, write_few

from lra.cli.main import main
from lra.core.environment import ROOT
from lra.report.runs import BLOCK, identities, packed, run_columns

COMMAND = [sys.executable, str(ROOT / "run_lra.py"), "report"]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with elfatt of three seeds, softmax, and one of its controls, on ListOps."""
    return write_few(tmp_path)


def say(capsys: pytest.CaptureFixture[str], folder: Path, *words: str, code: int = 0) -> str:
    """What the command prints, on both streams."""
    assert main(["report", "--results", str(folder), *words]) == code
    told = capsys.readouterr()
    return told.out + told.err


def embedded(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])


def runs(page: str) -> dict[str, dict]:
    """Every run of the page by its id: its columns, and what was packed."""
    held = embedded(page)["runs"]
    blocks = re.findall(r'<script type="text/plain" id="runs-\d+">(.*?)</script>', page)
    details = [each for block in blocks for each in json.loads(zlib.decompress(base64.b64decode(block)))]
    columns = [
        dict(zip(held["columns"], values, strict=True)) for values in zip(*held["columns"].values(), strict=True)
    ]
    return {own["id"]: more | held["kinds"][own["kind"]] | own for own, more in zip(columns, details, strict=True)}


def test_the_page_is_the_same_bytes_when_made_twice(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, results)
    assert "5 runs" in told
    first = (results / "report.html").read_bytes()
    again = results / "again.html"
    command = [*COMMAND, "--results", str(results), "--out", str(again)]
    subprocess.run(command, check=True, capture_output=True, timeout=120, env={**os.environ, "PYTHONHASHSEED": "7"})
    assert again.read_bytes() == first
    assert not list((results / "runs").glob("*.html"))


def test_the_page_is_whole_and_asks_no_network(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    say(capsys, results)
    page = (results / "report.html").read_text()
    fetched = re.findall(r"""(?:src|href|action)=["']?([^"' >]+)|@import|url\(""", page.split("<script type=")[0])
    assert {link for link in fetched if not link.startswith(("#", "https://arxiv.org/abs/"))} == {"data:,"}
    for word in (
        "chance",
        "majority",
        "best trivial rule",
        "undertrained, not a ranking",
        "Generated, not the release",
    ):
        assert word in page
    ours, theirs = page.split('id="published"')
    assert "36.37" in theirs
    assert "36.37" not in ours
    assert "block-only (torch, not run)" in ours
    data = embedded(page)
    assert len(runs(page)) == 5
    assert {picture["kind"] for picture in data["pictures"]} == {"accuracy", "curves"}


def test_what_a_record_says_is_shown_and_never_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = "</script><script>alert(1)</script><b>"
    write(made("listops", "elfatt", 0.5, command=bad, validation=bad, references={"chance": 0.1, bad: 0.3}), tmp_path)
    say(capsys, tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page  # the rule's name in the table of the leaderboard
    assert next(iter(runs(page).values()))["command"] == bad


def test_a_run_trained_again_has_a_page_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, accuracy in (("a.json", 0.4), ("a.2.json", 0.5)):
        write(made("listops", "elfatt", accuracy, run_id="0123456789ab"), tmp_path, name)
    say(capsys, tmp_path)
    found = runs((tmp_path / "report.html").read_text())
    assert {identity: run["accuracy"] for identity, run in found.items()} == {"0123456789ab": 40, "0123456789ab.2": 50}


def test_runs_on_several_devices_stand_apart() -> None:
    one, two = made("listops", "elfatt", 0.5), made("listops", "elfatt", 0.5, devices=2)
    alone, shared = run_columns(identities([one, two]))["kinds"]
    assert {name for name in alone if alone[name] != shared[name]}
    assert "2 devices" in json.dumps(shared)
    assert "devices" not in json.dumps(alone)


@pytest.mark.slow
def test_thousands_of_runs_take_a_few_hundred_bytes_each() -> None:
    few = [made("listops", attn, 0.5, seed) for attn in ("elfatt", "softmax") for seed in range(5)]
    ids = (f"{blake2b(bytes([i % 251, i // 251]), digest_size=6).hexdigest()}" for i in range(3000))
    many = [replace(few[i % 10], run_id=found, seed=i) for i, found in enumerate(ids)]
    held = identities([*many, *many[:2]])
    assert len(held) == 3002
    assert list(held)[-1] == f"{many[1].run_id}.2"
    columns = json.dumps(run_columns(held))
    blocks = list(packed(held))
    assert len(blocks) == -(-3002 // BLOCK)
    assert (len(columns) + sum(map(len, blocks))) / len(held) < 250


def test_no_records_get_one_line_and_no_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = say(capsys, tmp_path, code=2)
    assert told.startswith("error: no record in ")
    assert len(told.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_broken_records_get_a_line_each_and_lose_no_other(
    results: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = results / "runs"
    whole = json.loads(next(folder.glob("*softmax*")).read_text())
    (folder / "cut.json").write_text(json.dumps(whole)[:100])
    (folder / "old.json").write_text(json.dumps({**whole, "schema": 0}))
    for name, changed in {
        "type": {"test_accuracy": "high"},
        "backend": {"backend": "tpu"},
        "curve": {"curve": [{"step": 1}]},
        "config": {"config": {}},
        "references": {"references": {}},
    }.items():
        put({**whole, **changed}, folder / f"z-{name}.json")
    faults = {
        "z-type": "test_accuracy is 'high', expected a number",
        "z-backend": "backend is 'tpu', expected 'torch' or 'jax'",
        "z-curve": "it has no curve[0].train_loss",
        "z-config": "it has no config.data",
        "z-references": "references has no chance",
    }
    (results / "bench").mkdir()
    (results / "bench" / "odd.json").write_text("{}")
    told = say(capsys, results, code=1)
    lines = [line for line in told.splitlines() if line.startswith("left out: ")]
    assert [Path(line.split(".json")[0]).name for line in lines] == ["cut", "old", *sorted(faults), "odd"]
    assert all(said in line for (_, said), line in zip(sorted(faults.items()), lines[2:], strict=False))
    assert len(runs((results / "report.html").read_text())) == 5


def test_a_failure_leaves_the_old_page(
    results: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    say(capsys, results)
    before = {path: path.read_bytes() for path in results.rglob("*") if path.is_file()}
    monkeypatch.setattr("lra.core.files.os.fsync", lambda number: (_ for _ in ()).throw(OSError("no space")))
    say(capsys, results, code=1)
    assert {path: path.read_bytes() for path in results.rglob("*") if path.is_file()} == before


def test_a_record_as_model_index(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(made("pathfinder", "elfatt", 0.7225, run_id="0123456789ab"), tmp_path)
    write(made("text", "elfatt", 0.61, run_id="fedcba987654"), tmp_path)
    (entry,) = yaml.safe_load(say(capsys, tmp_path, "--model-index", "0123"))["model-index"]
    assert entry["name"] == "pathfinder-elfatt-torch-quick-s0-01234567"
    (result,) = entry["results"]
    assert result["task"] == {"type": "image-classification", "name": "Pathfinder"}
    assert (result["dataset"]["type"], result["dataset"]["split"]) == ("lra-pathfinder", "test")
    assert result["dataset"]["args"]["size"] == 16
    (metric,) = result["metrics"]
    assert (metric["type"], metric["value"]) == ("accuracy", 0.7225)
    assert "undertrained" in metric["name"]
    assert metric["args"]["standard_error"] == pytest.approx(0.01, rel=0.01)
    assert metric["args"]["without_learning"]["chance"] == 0.5
    assert "text-classification" in say(capsys, tmp_path, "--model-index", "fedcba987654")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize(
    ("wanted", "said"), [("012", "several runs begin with it"), ("0123456789ba", "did you mean 0123456789ab")]
)
def test_a_run_that_is_not_there_gets_one_line(
    wanted: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed, identity in enumerate(("0123456789ab", "012fedcba987")):
        write(made("text", "elfatt", 0.61, seed, run_id=identity), tmp_path)
    told = say(capsys, tmp_path, "--model-index", wanted, code=2)
    assert said in told
    assert len(told.strip().splitlines()) == 1
