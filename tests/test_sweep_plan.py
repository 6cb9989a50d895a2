"""A sweep's plan: from YAML or flags to runs, each once; what cannot be is refused, or told as impossible."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import tyro

from lra.cli.bench import BenchFlags
from lra.core.environment import ROOT
from lra.core.errors import UserError
from lra.core.identity import run_id
from lra.sweep import benched, plan
from lra.sweep.command import SweepFlags
from lra.sweep.plan import Planned, Timed
from lra.terminal.flags import command_line
from tests.evidence.table import shown_records

SWEEPS = sorted((ROOT / "configs" / "sweeps").glob("*.yaml"))


def runs(text: str, tmp_path: Path) -> list[Planned]:
    path = tmp_path / "plan.yaml"
    path.write_text(text, encoding="utf-8")
    return [each for each in plan.load(path) if isinstance(each, Planned)]


def flags(*words: str) -> SweepFlags:
    found = tyro.cli(SweepFlags, args=list(words))
    found.check()
    return found


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_the_plans_of_the_repository_are_possible(path: Path, tmp_path: Path) -> None:
    one_seed = tmp_path / path.name  # and few mechanisms: a full board has thousands of runs
    text = re.sub("seeds: [0-9]+", "seeds: 1", path.read_text(encoding="utf-8"))
    text = text.replace("attn: all", "attn: [elfatt, s4d]")
    one_seed.write_text(text, encoding="utf-8")
    found = plan.load(one_seed)
    assert [each.title for each in found if isinstance(each, Planned) and each.run is None] == []
    for each in found:
        if isinstance(each, Timed):
            assert "--backend" in each.words, "it is to time the same wherever it runs"
            words = tyro.cli(BenchFlags, args=list(each.words))
            assert benched.command(each.words) == command_line("bench", words)


def test_every_run_of_the_tables_is_in_a_plan() -> None:
    planned: dict[tuple, list] = {}
    for name in ("quick", "standard", "s4"):
        for each in plan.load(ROOT / "configs" / "sweeps" / f"{name}.yaml"):
            assert isinstance(each, Planned)
            run = each.run
            assert run is not None
            planned.setdefault((run.task, run.attn, run.backend, run.seed), []).append(run)
    missing = [
        each.run_id
        for each in shown_records()
        if each.run_id
        not in [run_id(run, each.data_hash) for run in planned.get((each.task, each.attn, each.backend, each.seed), [])]
    ]
    assert missing == []


def test_every_combination_is_a_run_the_first_seed_of_all_first(tmp_path: Path) -> None:
    text = "sweep:\n  - {task: listops, attn: [elfatt@block_size=16, linear], backend: [torch, jax], preset: smoke,"
    found = runs(
        text + " seeds: 2, seed: 3, grid: {train.learning-rate: [1e-4, 3e-4], model.dropout: 0.2}}\n", tmp_path
    )
    assert [each.run.seed for each in found if each.run] == [3] * 8 + [4] * 8
    first = found[0].run
    assert first is not None
    assert (first.options.block_size, first.train.learning_rate, first.model.dropout) == (16, 1e-4, 0.2)
    assert {(each.run.attn, each.run.backend, each.run.train.learning_rate) for each in found if each.run} == {
        (attn, backend, rate) for attn in ("elfatt", "linear") for backend in ("torch", "jax") for rate in (1e-4, 3e-4)
    }
    assert found[0].title.startswith("listops · elfatt@block_size=16 · torch · smoke · train.learning_rate=0.0001")


def test_a_run_of_two_blocks_is_one_run(tmp_path: Path) -> None:
    block = "  - {task: listops, attn: [linear, softmax], backend: torch, preset: smoke}\n"
    found = runs(f"sweep:\n{block}{block.replace('[linear, softmax]', 'all')}", tmp_path)
    titles = [each.title for each in found]
    assert len(titles) == len(set(titles)) > 20
    assert titles[0].startswith("listops · linear")


def test_an_impossible_value_makes_one_run_impossible(tmp_path: Path) -> None:
    text = "sweep:\n  - {task: listops, attn: linear, backend: torch, preset: smoke, grid: {train.steps: [0, 7]}}\n"
    bad, good = runs(text, tmp_path)
    assert bad.run is None
    assert "train.steps is 0, expected at least 1" in bad.why
    assert good.run is not None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "is not a plan: expected one key, sweep"),
        ("sweep: []", "is not a plan"),
        ("{sweep: [{task: listops, attn: linear}], more: 1}", "is not a plan"),
        ("sweep: [3]", "block 1 is not a mapping"),
        ("sweep: [{task: listops}]", "block 1: it has no attn"),
        ("sweep: [{task: listops, attn: linear, sed: 1}]", "block 1: it has an unknown field sed"),
        ("sweep: [{task: lisops, attn: linear}]", "block 1: .*lisops"),
        ("sweep: [{task: listops, attn: liner}]", "block 1: .*liner"),
        ("sweep: [{task: listops, attn: linear, seeds: 0}]", "block 1: seeds is 0, expected at least 1"),
        ("sweep: [{task: listops, attn: linear, backend: tf}]", "block 1: backend"),
        ("sweep: [{task: listops, attn: linear, preset: slow}]", "block 1: preset is slow|block 1: preset"),
        ("sweep: [{task: listops, attn: linear, grid: {rate: [1]}}]", "block 1: grid: rate is not a field"),
        ("sweep: [{task: listops, attn: linear, grid: {train.rate: 1}}]", "grid: train has no field rate: did you"),
        ("sweep: [{task: listops, attn: linear, grid: {options.blocks: 1}}]", "options of linear has no field blocks"),
        ("sweep: [{task: listops, attn: linear, grid: {train.steps: []}}]", "block 1: grid"),
        (
            f"sweep: [{{task: listops, attn: linear, seeds: 1000, grid: {{train.steps: {list(range(101))}}}}}]",
            "101,000 runs",
        ),
        ("sweep: [{bench: 3}]", "block 1: expected bench with its flags as one text"),
        ("sweep: [{bench: '\"'}]", "block 1: bench: No closing quotation"),
        ("sweep: [{bench: --lengths many}]", "block 1: bench: --lengths many: expected whole numbers"),
        ("sweep: [{bench: --samples few}]", "block 1: bench: wrong flags: python run_lra.py bench --samples few"),
        ("sweep: [{bench: --atn elfatt}]", "block 1: bench: wrong flags: python run_lra.py bench --atn elfatt"),
    ],
)
def test_what_is_no_plan_is_refused_in_one_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said) as caught:
        runs(text, tmp_path)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "plan.yaml") in str(caught.value)


def test_flags_make_the_same_plan_as_a_file(tmp_path: Path) -> None:
    words = ["--task", "listops", "--attn", "softmax@local_conv=true,linear", "--backend", "torch,jax"]
    words += ["--preset", "smoke"]
    words += ["--seeds", "2", "--grid", "train.learning_rate=1e-4,1e-3", "--grid", "options.local_conv=true"]
    mine = flags(*words[:4], *words[4:-2]).pieces()
    text = "sweep: [{task: listops, attn: [softmax@local_conv=true, linear], backend: [torch, jax], preset: smoke,"
    assert mine == runs(f"{text} seeds: 2, grid: {{train.learning_rate: [1e-4, 1e-3]}}}}]", tmp_path)
    words += ["--engine", "slurm", "--slurm", "partition=long", "--slurm", "qos=low"]
    assert shlex.split(flags(*words).again)[3:].count("--grid") == 2
    again = tyro.cli(SweepFlags, args=shlex.split(flags(*words).again)[3:])
    assert again == flags(*words)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "sweep needs a plan: name a file such as configs/sweeps/quick.yaml, or --task and --attn"),
        (["--task", "listops"], "sweep needs a plan"),
        (["a.yaml", "--seeds", "2"], "both the plan a.yaml and --seeds are given"),
        (["a.yaml", "--jobs", "0"], "--jobs is 0, expected at least 1"),
        (["a.yaml", "--minutes", "0"], "minutes is 0"),
        (["a.yaml", "--cpus", "0"], "--cpus is 0, expected at least 1"),
        (["--task", "listops", "--attn", "linear", "--seeds", "0"], "seeds is 0"),
    ],
)
def test_flags_that_cannot_be_are_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        flags(*words)


@pytest.mark.parametrize("text", ["train.steps", "train.steps=", "=3"])
def test_an_axis_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="expected FIELD=VALUE"):
        plan.grid(text)
