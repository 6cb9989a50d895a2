"""What the process of one cell does: the check, the first call, memory, calibration, samples, and its failures."""

from __future__ import annotations

import itertools
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stopped import stop

from lra.backends import get_clock
from lra.bench import memory as bench_memory
from lra.bench import parity as bench_parity
from lra.bench import subjects as bench_subjects
from lra.bench import worker as bench_worker
from lra.bench.operations import Cost
from lra.bench.plan import BenchCell, Kind
from lra.bench.record import FAILED, MEASURED, UNEQUAL
from lra.bench.subjects import Stepping
from lra.bench.worker import Worker, answer
from lra.core.environment import ROOT
from lra.core.errors import is_out_of_memory
from lra.training.clock import AwakeClock

BACKENDS = ("torch", "jax")


def cell(backend: Any = "torch", kind: Kind = "attend", **changes: Any) -> BenchCell:
    """A small cell on the CPU."""
    pytest.importorskip(backend)
    values: dict[str, Any] = {"attn": "linear", "length": 33, "batch": 2, "heads": 2, "head_dim": 32}
    return BenchCell(kind=kind, backend=backend, device="cpu", dtype="float32", **values | changes)


@pytest.fixture(autouse=True)
def _short_and_unbounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples of 10 ms, small ceilings, and no bound on the memory of the process that runs the tests."""
    monkeypatch.setattr(bench_worker, "LEAST", 0.01)
    monkeypatch.setattr(bench_subjects, "PRODUCT_SIDE", {"cpu": 64})
    monkeypatch.setattr(bench_subjects, "COPY_BYTES", {"cpu": 1 << 16})
    monkeypatch.setattr(bench_memory, "allow", lambda more: None)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["attend", "train", "infer", "product", "copy"])
def test_a_cell_is_prepared_and_sampled(backend: str, kind: Any) -> None:
    chunk = 2 if kind in ("train", "infer") else 1
    worker = Worker(cell(backend, kind, chunk=chunk, **({"attn": ""} if kind in ("product", "copy") else {})))
    made = worker.prepare(None)
    assert made["status"] == MEASURED
    assert made["bytes"] > 0
    assert made["memory_bytes"] >= 0
    taken = worker.sample()
    assert taken["seconds"] >= 0.01
    assert taken["calls"] >= 1
    if kind in ("attend", "train", "infer"):
        assert 0 < made["parity"]["output"] < made["parity"]["output_bound"]
        assert made["environment"]["precision"] == "float32"


def test_calls_are_raised_until_a_sample_is_long_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    worker, naps = Worker(cell()), Naps()
    worker._subject, worker._awake = naps, AwakeClock(lambda: naps.slept, lambda: naps.slept)
    worker._calibrate()
    assert worker._calls == 13  # naps of 1 ms, 12.5 ms asked for
    worker._calls = 1  # as if the machine had become faster
    assert worker.sample() == {"seconds": pytest.approx(0.01), "calls": 10, "stopped": 0.0}
    monkeypatch.setattr(bench_worker, "LONG", 1e-4)
    worker._calls = 1
    worker._calibrate()
    assert worker._long


def test_a_sample_in_which_the_process_was_stopped_is_taken_again() -> None:
    worker, naps = Worker(cell()), Naps()
    worker._subject, worker._long = naps, True
    naps.call = lambda: stop(1.0) if next(turn) == 1 else time.sleep(0.01)
    turn = itertools.count(1)
    taken = worker.sample()
    assert 0.01 <= taken["seconds"] < 0.5
    assert taken["calls"] < next(turn) - 1  # those of the first attempt are in no sample
    assert taken["stopped"] == pytest.approx(1.0, abs=0.2)


class Naps:
    """A subject that takes a millisecond of a clock of its own."""

    def __init__(self) -> None:
        self.slept = 0.0

    def load(self) -> None:
        """It has no arrays."""

    def drop(self) -> None:
        """It has none to let go of."""

    def call(self) -> None:
        self.slept += 1e-3

    def cost(self) -> Cost:
        return Cost(flop=0, bytes=0)

    def environment(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize("attn", ["elfatt", "primal", "synthesizer", "s4d", "longconv"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_mechanism_equals_its_reference(attn: str, dtype: Any) -> None:
    found = bench_parity.check(replace(cell(attn=attn), dtype=dtype), get_clock("torch", "cpu"))
    assert found["output"] <= found["output_bound"]
    assert found["gradient"] <= found["gradient_bound"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_mechanism_that_differs_from_its_reference_gets_no_figure(backend: str, tmp_path: Path) -> None:
    folder = outside(tmp_path, backend, "softmax_attention(q, k, v", "softmax_attention(1.01 * q, k, v")
    said = answer({"cell": vars(cell(backend, attn=str(folder)))}, [])
    assert said["status"] == UNEQUAL
    assert "from the reference, 2e-05 is allowed" in said["why"]


def test_a_wrong_gradient_is_found_too(tmp_path: Path) -> None:
    folder = outside(tmp_path, "torch", "(q, k, v, layer.real)", "(q, k.detach(), v, layer.real)")
    said = answer({"cell": vars(cell(attn=str(folder)))}, [])
    assert said["status"] == UNEQUAL
    assert "its gradient is" in said["why"]


def outside(tmp_path: Path, backend: str, right: str, wrong: str) -> Path:
    """A copy of softmax, called softmax too, with one thing changed in one framework's code."""
    folder = tmp_path / "softmax"
    shutil.copytree(ROOT / "attention_impls" / "softmax", folder, ignore=shutil.ignore_patterns("__pycache__"))
    code = folder / f"{backend}_impl.py"
    text = code.read_text()
    assert right in text
    code.write_text(text.replace(right, wrong))
    return folder


def test_a_mechanism_without_a_reference_gets_no_figure(tmp_path: Path) -> None:
    folder = outside(tmp_path, "torch", "attend", "attend")
    (folder / "reference.py").unlink()
    said = answer({"cell": vars(cell(attn=str(folder)))}, [])
    assert (said["status"], "reference.py" in said["why"]) == (FAILED, True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_training_step_is_timed_in_the_precision_asked_for(backend: str, dtype: Any) -> None:
    subject = Stepping(replace(cell(backend, "train"), dtype=dtype), get_clock(backend, "cpu"))
    assert subject.environment()["precision"].split()[0] == dtype


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("CUDA out of memory. Tried to allocate 20.00 MiB"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 33554432 bytes."), True),
        (RuntimeError("INTERNAL: YNNPACK operation failed: error"), True),
        (RuntimeError("shapes do not match"), False),
    ],
)
def test_what_counts_as_out_of_memory(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


def test_resident_memory_is_counted_above_the_start() -> None:
    before = np.ones(20_000_000, np.uint8)
    meter = bench_memory.ResidentMeter()
    meter.restart()
    more = np.ones(50_000_000, np.uint8)
    del more
    assert 48e6 < meter.peak() < 60e6
    meter.restart()
    assert meter.peak() < 5e6  # an earlier peak is forgotten
    assert before.sum() == len(before)
