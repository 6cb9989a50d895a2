"""What a run is expected to take: from runs like it, from benchmarks of its step, from a probe, in that order."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from lra.bench.record import BenchRecord
from lra.core.config import Model, Run, as_dict, neutral, resolve
from lra.core.environment import environment
from lra.sweep import probing
from lra.sweep.estimate import LOADING, MARGIN, PROCESS, UNKNOWN, Known, RunCost, from_probe, in_turn, steps_in_all
from lra.sweep.items import Item
from lra.sweep.local import Share
from lra.sweep.work import Probe
from lra.training.record import Record
from tests.bench_records import bench_record, timing
from tests.board_records import made
from tests.small import place

RUN = resolve("listops", "elfatt", backend="torch", preset="standard")
HERE = environment()["cpu"]


def earlier(run: Run = RUN, cpu: str = HERE, **changes: Any) -> Record:
    values = {"steps_per_second": 4.0, "evaluation_seconds": 2.0, "first_steps_after": 6.0, "peak_memory_bytes": 10**9}
    base = made(run.task, run.attn, 0.4, preset=run.preset)
    facts = base.environment | {"cpu": cpu, "device": "cpu"}
    return replace(base, config=as_dict(run), environment=facts, **{**values, **changes})


def bench(**changes: Any) -> BenchRecord:
    cell = timing("elfatt", 2048, [0.25, 0.25, 0.25], batch=32, **changes)
    facts = {"cpu": HERE, "cores": 2, "backends": {"torch": {"framework": "torch", "device": "cpu"}}}
    return bench_record(what="train", documents="listops standard", cells=[cell], environment=facts)


def test_an_earlier_run_tells_time_and_memory() -> None:
    record = earlier()
    found = Known([record], [bench()], False).estimate(replace(RUN, seed=3))
    scoring = 2.0 / len(record.curve)
    assert found.seconds == pytest.approx(6 + 5000 / 4 + (100 + 2) * scoring)
    assert found.memory == int(MARGIN * 10**9)
    assert found.source == "1 earlier run"


def test_rates_and_steps_may_differ_and_the_work_of_a_step_may_not() -> None:
    known = Known([earlier()], [], False)
    longer = replace(RUN, train=replace(RUN.train, learning_rate=1e-3, steps=10_000))
    assert (known.estimate(longer).seconds or 0) > 2400
    for other in (
        replace(RUN, train=replace(RUN.train, batch_size=64)),
        replace(RUN, model=replace(RUN.model, width=128)),
        replace(RUN, options=replace(RUN.options, block_size=16)),
        replace(RUN, data=replace(RUN.data, max_length=1000)),
        replace(RUN, backend="jax"),
    ):
        assert known.estimate(other) is UNKNOWN


def test_a_record_from_before_a_field_tells_it_too() -> None:
    record = earlier()
    before = {name: value for name, value in record.config["model"].items() if name not in neutral(Model)}
    assert before != record.config["model"]
    old = replace(record, config=record.config | {"model": before})
    assert Known([old], [], False).estimate(RUN).source == "1 earlier run"


def test_a_record_without_a_processor_or_a_batch_size_is_no_error() -> None:
    record = earlier()
    nowhere = replace(record, environment={name: record.environment[name] for name in ("device", "framework")})
    assert Known([nowhere], [], False).estimate(RUN).source == "1 earlier run on another machine"
    train = {name: value for name, value in record.config["train"].items() if name != "batch_size"}
    assert Known([replace(record, config=record.config | {"train": train})], [], False).estimate(RUN) is UNKNOWN


def test_another_machine_is_said_and_another_kind_of_device_tells_nothing() -> None:
    there = earlier(cpu="another", steps_per_second=1.0)
    assert Known([there], [], False).estimate(RUN).source == "1 earlier run on another machine"
    assert Known([there, earlier()], [], False).estimate(RUN).source == "1 earlier run"
    assert Known([earlier()], [bench()], True).estimate(RUN) is UNKNOWN


def test_a_run_whose_batches_were_shared_tells_nothing() -> None:
    assert Known([earlier(devices=2), earlier(accumulate=2)], [], False).estimate(RUN) == UNKNOWN
    assert Known([earlier(devices=None)], [], False).estimate(RUN) != UNKNOWN


def test_a_benchmark_of_the_step_tells_it_too() -> None:
    found = Known([], [bench()], False).estimate(RUN)
    assert found.seconds == pytest.approx(LOADING + steps_in_all(RUN) * 0.25)
    assert found.memory == int(MARGIN * 2048 * 1000) + PROCESS
    assert found.source == "a benchmark"
    assert Known([], [bench(options={"block_size": 16})], False).estimate(RUN) is UNKNOWN


def test_scoring_counts_as_a_third_of_training() -> None:
    # 100 evaluations of 2,000 examples and twice a test split of 2,000, in batches of 32
    assert steps_in_all(RUN) == pytest.approx(5000 + (100 * 2000 + 2 * 2000) / 32 / 3)


def test_several_at_a_time_are_packed_in_their_order() -> None:
    assert in_turn([3.0, 1.0, 1.0, 4.0], 2) == 6.0
    assert in_turn([], 3) == 0.0
    assert in_turn([1.0, None], 2) is None


def test_cells_are_probed_once_where_no_record_tells(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Run] = []

    def probe(run: Run, *_: Any) -> RunCost:
        asked.append(run)
        return from_probe(run, Probe(first=5.0, step=0.5, memory=100))

    monkeypatch.setattr(probing, "_probe", probe)
    short = replace(RUN, train=replace(RUN.train, steps=99, warmup=1))
    runs = [RUN, replace(RUN, seed=1), replace(RUN, train=replace(RUN.train, learning_rate=1e-3)), short]
    items = [Item(title=str(number), run=run, work=tmp_path) for number, run in enumerate(runs)]
    no_data = Item(title="no data", run=replace(RUN, model=replace(RUN.model, width=32)))
    share = Share(cores=(0,), threads=1)
    probing.estimated([*items, no_data], place(tmp_path), share, probe=True, on_gpu=False)
    assert len(asked) == 1
    assert [each.estimate.source for each in (*items, no_data)] == ["a probe"] * 3 + ["", ""]
    assert items[0].estimate.seconds == pytest.approx(5 + 0.5 * steps_in_all(RUN))
    assert items[0].estimate.memory == 120
    probing.estimated(items, place(tmp_path), share, probe=False, on_gpu=False)
    assert items[0].estimate is UNKNOWN
    assert asdict(UNKNOWN)["source"] == ""


@pytest.mark.slow
def test_a_probe_takes_two_steps_and_leaves_nothing(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    run = resolve("listops", "linear", backend="torch", preset="smoke")
    found = probing._probe(run, place(tmp_path), Share(cores=(), threads=1))
    assert found.source == "a probe"
    assert found.seconds is not None
    assert 0.5 < found.seconds < 120
    assert found.memory is not None
    assert found.memory > 10**8
    assert list(tmp_path.iterdir()) == []
