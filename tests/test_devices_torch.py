"""Several devices in PyTorch: processes on the CPU that share each batch, and what becomes of a run when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest

from lra.core.environment import ROOT
from lra.core.errors import DeviceFailed, UserError
from lra.model.sharing import Sharing
from lra.training import data, record
from lra.training.loop import Interrupted
from lra.training.record import Record
from lra.training.trainer import train
from tests.small import Quiet, place, smoke_run
from tests.stopped import waited_for

pytestmark = pytest.mark.slow
TWO = Sharing(2)


@pytest.fixture(autouse=True)
def _framework() -> None:
    pytest.importorskip("torch")


def losses(found: Record) -> list[float]:
    """Every loss of a record; those of its first steps are of its only steps."""
    return [*found.first_losses, *(loss for each in found.curve for loss in (each.train_loss, each.validation_loss))]


def others() -> list[psutil.Process]:
    return psutil.Process().children(recursive=True)


def test_two_devices_learn_what_one_does_and_each_continues_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = smoke_run("listops", "elfatt", "torch", steps=20, evaluate_every=10, chunk=2, learning_rate=1e-4)
    run = replace(base, data=replace(base.data, validation=37, test=41))
    ready = data.prepare(run.task, run.data, data.source(None, 1))
    one, _ = train(run, ready, place(tmp_path / "one"), Quiet())
    monkeypatch.setattr("lra.training.loop.SNAPSHOT_SECONDS", 0.0)
    results, stop = tmp_path / "both", lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        train(run, ready, place(results), Quiet({4: stop}))

    killed: list[psutil.Process] = []

    def kill() -> None:
        killed[:] = others()
        killed[0].kill()

    with pytest.raises(DeviceFailed) as failed:  # on two from step 4 on
        train(run, ready, place(results, resume=True, sharing=TWO), Quiet({14: kill}))
    assert str(failed.value) == (
        "device 2 of 2 (cpu) failed: its process was ended by SIGKILL; run the same command again; "
        "--resume continues from the last snapshot"
    )
    assert len(killed) == 1
    assert not others()
    with pytest.raises(Interrupted):
        train(run, ready, place(results, resume=True), Quiet({16: stop}))
    both, path = train(run, ready, place(results, resume=True, sharing=Sharing(2, 2)), Quiet())
    assert not others()
    np.testing.assert_allclose(losses(both), losses(one), rtol=0, atol=1e-5)
    assert (both.run_id, both.test_accuracy, both.test_examples) == (one.run_id, one.test_accuracy, 41)
    assert (both.devices, both.accumulate, one.devices, one.accumulate) == (2, 2, 1, 1)
    assert both.environment["device_names"] == ["cpu", "cpu"]
    assert both.peak_memory_bytes > 1.5 * one.peak_memory_bytes
    assert both.timing == "on 1, then 2, then 1, then 2 devices"
    assert both.command == f"{one.command} --devices 2 --accumulate 2"
    assert record.load(path) == both
    assert len(list(results.glob("runs/*.json"))) == 1


FAILS = """
from lra.backends.torch import peer
from lra.backends.torch.backend import TorchBackend
from lra.core.workers import serve

def fails(*given):
    raise ValueError("it cannot")

TorchBackend.train_steps = fails
serve(peer.answer)
"""
ABSENT = """
import time
from lra.core.workers import serve

def answer(order):
    return order if "ready" in order else {"error": "RuntimeError: CUDA out of memory", "memory": True}

serve(answer)
"""
STUCK = """
import torch
from lra.backends.torch import leader
from lra.model.sharing import Sharing
from tests.small import blueprint

leader.GRACE, leader.PEER = 0.5, "absent"
leader.Leader(blueprint(), [torch.device("cpu")] * 2, Sharing(2))
"""


def test_a_device_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that never starts, one whose code fails, and a group of somebody else."""
    import torch.distributed as dist

    run = smoke_run("listops", "linear", "torch")
    ready = data.prepare(run.task, run.data, data.source(None, 1))

    def failing(code: str) -> None:
        (tmp_path / "broken.py").write_text(code, encoding="utf-8")
        monkeypatch.setattr("lra.backends.torch.leader.PEER", "broken")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        train(run, ready, place(tmp_path / "results", sharing=TWO), Quiet())

    with pytest.raises(
        DeviceFailed,
        match=r"device 2 of 2 \(cpu\) failed: its process ended with exit code 7.*there is no snapshot yet",
    ):
        failing("import os; os._exit(7)")
    with pytest.raises(DeviceFailed, match=r"device 2 of 2 \(cpu\) failed: ValueError: it cannot"):
        failing(FAILS)
    dist.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        with pytest.raises(UserError, match="start it without torchrun"):
            train(run, ready, place(tmp_path / "results", sharing=TWO), Quiet())
    finally:
        dist.destroy_process_group()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UserError, match="start it without torchrun"):
        train(run, ready, place(tmp_path / "results", sharing=TWO), Quiet())
    assert not others()


def test_who_waits_for_a_device_that_is_gone_ends(tmp_path: Path) -> None:
    (tmp_path / "absent.py").write_text(ABSENT, encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    line = [sys.executable, "-c", STUCK]
    ended = subprocess.run(
        line, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, "PYTHONPATH": path}
    )
    assert ended.returncode == 1
    assert ended.stderr == (
        "error: device 2 of 2 (cpu): RuntimeError: CUDA out of memory; "
        "--resume continues from the last snapshot, if there is one\n"
    )


def test_the_end_of_the_command_is_the_end_of_its_devices(tmp_path: Path) -> None:
    words = ["--task", "listops", "--attn", "linear", "--preset", "smoke", "--device", "cpu", "--devices", "2"]
    words += ["--train.steps", "4000", "--train.evaluate-every", "20", "--train.chunk", "5", "--backend", "torch"]
    line = [sys.executable, str(ROOT / "run_lra.py"), *words, "--results", str(tmp_path)]
    process = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    waited_for(lambda: list(tmp_path.glob(".work/*/metrics.csv")), process)
    (child,) = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    said, told = process.communicate()
    child.wait(20)
    assert told == ""
    assert "4,000 steps of 8 on 2 devices" in said
    assert "on 2 × cpu" in said
