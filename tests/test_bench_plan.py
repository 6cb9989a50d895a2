"""From the flags of `bench` to cells, and one line for every plan that cannot be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tyro

from lra import backends
from lra.bench.plan import Plan, blueprint_of, make_plan
from lra.cli import bench
from lra.cli.bench import BenchFlags
from lra.cli.main import main
from lra.core.environment import ROOT
from lra.core.errors import UserError


def plan(*words: str, device: Any = "cpu") -> Plan:
    return make_plan(tyro.cli(BenchFlags, args=words), device)


def test_every_mechanism_meets_every_length_in_every_framework() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    made = plan("--attn", "elfatt,softmax", "--lengths", "128,256", "--backend", "torch,jax", "--batch", "8,4")
    assert len(made.cells) == 8
    assert {(cell.length, cell.batch) for cell in made.cells} == {(128, 8), (256, 4)}
    assert [(cell.kind, cell.backend) for cell in made.ceilings] == [
        *(("product", "torch"), ("copy", "torch"), ("product", "jax"), ("copy", "jax"))
    ]
    assert made.compare == (("elfatt", "softmax"), ("torch", "jax"))


def test_by_default_a_batch_has_32768_tokens() -> None:
    pytest.importorskip("torch")
    made = plan("--attn", "linear", "--lengths", "1024,4096,16384,65536")
    assert [cell.batch for cell in made.cells] == [32, 8, 2, 1]


def test_options_make_another_row_of_the_same_mechanism() -> None:
    pytest.importorskip("torch")
    made = plan("--attn", "softmax,softmax@local-conv=true", "--lengths", "128")
    assert [cell.label for cell in made.cells] == ["softmax", "softmax@local_conv=true"]
    assert [blueprint_of(cell).options.local_conv for cell in made.cells] == [False, True]
    assert made.compare == (("softmax", "softmax@local_conv=true"),)


def test_training_times_the_standard_model() -> None:
    pytest.importorskip("torch")
    made = plan("--attn", "elfatt", "--lengths", "1024,4096,16384", "--what", "train")
    model = blueprint_of(made.cells[0]).model
    assert (model.width, model.depth, model.heads, model.ffn, model.dropout) == (64, 2, 2, 128, 0.0)
    assert [cell.chunk for cell in made.cells] == [4, 4, 1]
    dims = blueprint_of(made.cells[1]).dims
    assert (dims.heads, dims.head_dim, dims.max_length) == (2, 32, 4096)


def test_the_precision_follows_the_device() -> None:
    pytest.importorskip("torch")
    words = ("--attn", "linear", "--lengths", "64")
    assert [plan(*words, device=device).dtype for device in ("cpu", "gpu")] == ["float32", "bfloat16"]


@pytest.mark.parametrize(("answers", "device"), [((0, 0), "gpu"), ((0, 1), "cpu"), ((1,), "cpu")])
def test_a_gpu_is_timed_where_every_framework_sees_one(
    answers: tuple[int, ...], device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(answers)
    monkeypatch.setattr(backends, "has_gpu", lambda: True)
    monkeypatch.setattr(backends.subprocess, "run", lambda words, **_: subprocess.CompletedProcess(words, left.pop(0)))
    assert bench._device(("torch", "jax")) == device
    assert left == []


def test_too_many_cells_are_timed_some_lengths_at_a_time() -> None:
    pytest.importorskip("torch")
    made = plan("--attn", "linear,softmax,efficient", "--lengths", "64,128,256")
    assert [len(group) for group in made.groups(6)] == [6, 3]
    assert [len(group) for group in made.groups(2)] == [3, 3, 3]  # a length is never torn
    assert [cell for group in made.groups(6) for cell in group] == list(made.cells)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--attn", "elfat"], "did you mean 'elfatt'"),
        (["--attn", ","], "--attn is empty"),
        (["--attn", "softmax@conv"], "NAME@option=value"),
        (["--attn", "softmax@local-conf=true"], "did you mean 'local_conv'"),
        (["--attn", "elfatt@block-size=0"], "options.block_size is 0, expected at least 1"),
        (["--lengths", "1k"], "whole numbers"),
        (["--lengths", "0"], "at least 1"),
        (["--lengths", "64,64"], "each length once"),
        (["--lengths", "64,128", "--batch", "1,2,3"], "one for each of the 2 lengths"),
        (["--backend", "tensorflow"], "expected torch or jax"),
        (["--samples", "1"], "at least 2"),
        (["--compare", "elfatt:flash"], "two different names of elfatt, softmax"),
        (["--compare", "elfatt"], "FIRST:SECOND"),
        (["--what", "train", "--heads", "4"], "for --what attend"),
        (["--what", "train", "--chunk", "0"], "chunk is 0, expected at least 1"),
        (["--what", "train", "--dropout", "1"], "dropout is 1.0, expected at least 0 and less than 1"),
        (["--memory", "0"], "memory is 0.0, expected more than 0 and at most 1e+09"),
        (["--redraw", "/nowhere.json"], "not the record of a benchmark"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_mistake_gets_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    assert main(["bench", "--device", "cpu", *words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert said in lines[0]


def test_a_mechanism_is_timed_where_it_is_written(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("jax")
    folder = tmp_path / "mine"
    shutil.copytree(ROOT / "attention_impls" / "softmax", folder, ignore=shutil.ignore_patterns("jax_impl.py"))
    words = ("--attn", f"{folder},linear", "--lengths", "64", "--backend")
    assert [(cell.label, cell.backend) for cell in plan(*words, "torch,jax").cells] == [
        *(("mine", "torch"), ("linear", "torch"), ("linear", "jax"))
    ]
    with pytest.raises(UserError, match="none is written in jax"):
        plan("--attn", str(folder), "--backend", "jax")
