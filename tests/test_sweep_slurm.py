"""The SLURM engine: what it asks submitit for, and its tasks as processes of this machine, stopped and requeued."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from lra.cli.main import main
from lra.core.errors import UserError
from lra.sweep import on_slurm
from lra.sweep.engine import Order
from lra.sweep.local import LocalEngine, Share
from lra.sweep.on_slurm import SlurmEngine, parsed
from lra.training.snapshot import SNAPSHOT
from tests.cluster_cases import curves, in_training, small_items, swept


def test_words_become_parameters_of_submitit() -> None:
    found = parsed(["partition=gpu", "timeout_min=60", "exclusive=true", "slurm_qos=long"], cpus=4, gpu=True)
    assert found == {
        "timeout_min": 60,
        "cpus_per_task": 4,
        "gpus_per_node": 1,
        "slurm_partition": "gpu",
        "slurm_exclusive": True,
        "slurm_qos": "long",
    }


def test_a_gpu_is_asked_for_once() -> None:
    assert "gpus_per_node" not in parsed([], cpus=1, gpu=False)
    found = parsed(["gres=gpu:h100:1"], cpus=1, gpu=True)
    assert (found["slurm_gres"], found.get("gpus_per_node")) == ("gpu:h100:1", None)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("partition", "--slurm partition: expected NAME=VALUE, such as partition=gpu"),
        ("=gpu", "expected NAME=VALUE"),
        ("time=4:00:00", "--slurm time=4:00:00: write timeout_min=MINUTES"),
        ("timeout_min=soon", "timeout_min=soon: expected a whole number"),
        pytest.param(f"timeout_min={'9' * 5000}", "expected a whole number", id="thousands of digits"),
    ],
)
def test_words_that_say_nothing_are_refused(word: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        parsed([word], cpus=1, gpu=False)


def test_without_its_package_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=r"needs the package submitit: pip install -e '.\[slurm\]'"):
        SlurmEngine(tmp_path, parsed([], cpus=1, gpu=False))


@pytest.fixture
def _submitit(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install -e '.[slurm]'")
    for name in ("PYTHONPATH", "PYTHONSAFEPATH"):  # the engine sets them
        monkeypatch.setenv(name, os.environ.get(name, ""))


def program(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


@pytest.mark.usefixtures("_submitit")
def test_what_begins_together_is_one_array_that_is_warned_of_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    program(tmp_path, "srun", "exit 1")
    program(tmp_path, "sacct", "exit 1")
    program(tmp_path, "sbatch", f'cp "$1" {tmp_path}/asked; echo "Submitted batch job 7"')
    engine = SlurmEngine(tmp_path / "slurm", parsed(["partition=long", "timeout_min=60"], cpus=2, gpu=True), jobs=5)
    for key in "abc":
        order = Order(key=key, title=key, values={}, log=tmp_path / "logs" / key)
        assert engine.accepts(order)
        engine.start(order)
    assert engine.ended(0.0) == []
    asked = (tmp_path / "asked").read_text()
    for line in ("array=0-2%3", "partition=long", "time=60", "cpus-per-task=2", "gpus-per-node=1", "signal=USR2@90"):
        assert f"#SBATCH --{line}\n" in asked, line
    assert "#SBATCH --job-name=lra" in asked
    assert engine.jobs == 5


@pytest.mark.usefixtures("_submitit")
def test_a_parameter_that_submitit_does_not_know_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--slurm: Unknown argument 'partitoin'") as caught:
        SlurmEngine(tmp_path, parsed(["partitoin=long"], cpus=1, gpu=False), cluster="local")
    assert "\n" not in str(caught.value)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _submitit: None) -> SlurmEngine:
    pytest.importorskip("torch")
    monkeypatch.setattr(on_slurm, "LOOK", 0.2)
    return SlurmEngine(tmp_path / "slurm", parsed([], cpus=1, gpu=False), cluster="local")


@pytest.mark.slow
def test_a_run_that_meets_its_time_limit_is_requeued_and_like_one_that_does_not(
    tmp_path: Path, engine: SlurmEngine
) -> None:
    items = small_items(tmp_path, runs=1, steps=1000)
    warned: list[int] = []

    def warn() -> None:
        if not warned and (found := in_training(tmp_path)):
            task = found[0].parent()
            assert task is not None
            warned.append(task.pid)
            task.send_signal(signal.SIGUSR2)  # as SLURM does

    assert swept(items, engine, tmp_path, warn) == ["done"]
    assert [each.deaths for each in items] == [0]
    logs = [each.log(tmp_path).read_text(encoding="utf-8") for each in items]
    assert sum(text.count("resumed at step") for text in logs) == len(warned) == 1
    (tmp_path / "whole").mkdir()
    alone = small_items(tmp_path / "whole", runs=1, steps=1000)
    assert swept(alone, LocalEngine([Share(cores=(), threads=1)]), tmp_path / "whole") == ["done"]
    assert curves(tmp_path) == curves(tmp_path / "whole")


@pytest.mark.slow
def test_cancelled_jobs_save_and_a_killed_one_is_told(tmp_path: Path, engine: SlurmEngine) -> None:
    items = small_items(tmp_path, runs=1, steps=20_000)

    def stop() -> None:
        if in_training(tmp_path):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(items, engine, tmp_path, stop)
    assert (items[0].status, items[0].deaths) == ("waiting", 0)
    assert list(tmp_path.glob(f".work/*/{SNAPSHOT}"))
    engine.start(Order(key="7", title="a", values={"bench": ["--help"], "results": "x"}, log=tmp_path / "log"))
    engine.ended(0.0)
    [(_, job)] = engine._running
    for each in [*psutil.Process(job._process.pid).children(recursive=True), job._process]:
        each.kill()
    job._process.wait()
    job._results_timeout_s = 0
    found: list[Any] = []
    while not found:
        found = engine.ended(0.1)
    assert found[0][1].state == "died"
    assert "its job" in found[0][1].why


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--slurm", "qos=low"], "--engine local does not take --slurm"),
        (["--cpus", "2"], "--engine local does not take --cpus"),
    ],
)
def test_flags_of_another_engine_are_refused(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = ["--task", "listops", "--attn", "linear", "--preset", "smoke", "--results", str(tmp_path)]
    assert main(["sweep", *plan, *words]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_benchmarks_are_refused_where_a_machine_is_shared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "plan.yaml").write_text("sweep: [{bench: --what train}]")
    assert main(["sweep", str(tmp_path / "plan.yaml"), "--engine", "slurm"]) == 2
    assert "which --engine slurm cannot run: use --engine local" in capsys.readouterr().err
