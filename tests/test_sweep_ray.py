"""The Ray engine, on a cluster of two nodes that is started here, and of which one is killed."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lra.cli.main import main
from lra.core.errors import UserError
from lra.sweep.engine import Engine, Order
from lra.sweep.local import LocalEngine, Share
from lra.sweep.on_ray import RayEngine, require_answer
from lra.training.snapshot import SNAPSHOT
from tests.cluster_cases import curves, in_training, small_items, swept

RUNS, STEPS = 3, 1000


def test_without_its_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UserError, match=r"needs the package ray: pip install -e '.\[ray\]'"):
        RayEngine(None, cpus=1, gpu=False)


def test_an_address_is_for_ray(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = ["--task", "listops", "--attn", "linear", "--preset", "smoke", "--results", str(tmp_path)]
    assert main(["sweep", *plan, "--address", "head:6379"]) == 2
    assert "--engine local does not take --address" in capsys.readouterr().err


def test_an_address_where_nothing_answers_is_told_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        require_answer(f"127.0.0.1:{port}")
        require_answer(f"ray://127.0.0.1:{port}")
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", "127.0.0.1:99999", "127..1:80"):
        with pytest.raises(UserError, match=f"--address {address}: nothing responds"):
            require_answer(address)
    with pytest.raises(UserError, match="nothing responds"):
        require_answer(f"127.0.0.1:{'9' * 5000}")
    require_answer("auto")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A head without cores, and two nodes of one core each, with a disk of its own for prepared data."""
    pytest.importorskip("torch")
    pytest.importorskip("ray", reason="ray is not installed: pip install -e '.[ray]'")
    from ray.cluster_utils import Cluster  # pyright: ignore[reportMissingImports]

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.disks = [tmp_path_factory.mktemp("disk") for _ in range(2)]
    made.nodes = [made.add_node(num_cpus=1, env_vars={"LRA_HOME": str(disk)}) for disk in made.disks]
    yield made
    sys.modules["ray"].shutdown()
    made.shutdown()


@pytest.mark.slow
def test_a_run_gets_what_it_asks_for_or_one_line_says_why_not(cluster: Any, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    engine = RayEngine(cluster.address, cpus=1, gpu=False)
    assert signal.getsignal(signal.SIGTERM) == before, "what ends a command in good order is still there"
    assert isinstance(engine, Engine)
    assert engine.jobs == 2
    assert RayEngine(cluster.address, cpus=1, gpu=False, jobs=5).jobs == 5
    for cpus, gpu, said in ((2, False, "has 2 CPU and 0 GPU for a run"), (1, True, "has 1 CPU and 1 GPU")):
        with pytest.raises(UserError, match=said):
            RayEngine(cluster.address, cpus=cpus, gpu=gpu)
    alone = Order(key="0", title="a", values={}, log=tmp_path / "log", alone=True)
    assert not engine.accepts(alone)


@pytest.mark.slow
def test_cancelled_tasks_save(cluster: Any, tmp_path: Path) -> None:
    items = small_items(tmp_path, runs=1, steps=20_000)
    items[0].estimate = type(items[0].estimate)(memory=10**15)  # more than any node has

    def stop() -> None:
        if found := in_training(tmp_path):
            assert found[0].environ()["OMP_NUM_THREADS"] == "1"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        swept(items, RayEngine(cluster.address, cpus=1, gpu=False), tmp_path, stop)
    assert (items[0].status, items[0].deaths) == ("waiting", 0)
    assert list(tmp_path.glob(f".work/*/{SNAPSHOT}"))
    assert in_training(tmp_path) == []


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_node_loses_no_run_doubles_none_and_changes_no_number(cluster: Any, tmp_path: Path) -> None:
    items = small_items(tmp_path, RUNS, STEPS)
    empty = [disk for disk in cluster.disks if not any(disk.iterdir())]
    assert empty
    killed: list[int] = []

    def kill() -> None:
        found = in_training(tmp_path)
        if len(found) == 2 and not killed:
            killed.extend(each.pid for each in found)
            cluster.remove_node(cluster.nodes[0], allow_graceful=False)
        elif len(killed) == 2 and found:
            killed.append(found[0].pid)
            found[0].kill()

    assert swept(items, RayEngine(cluster.address, cpus=1, gpu=False), tmp_path, kill) == ["done"] * RUNS
    assert len(killed) == 3
    logs = "".join(each.log(tmp_path).read_text(encoding="utf-8") for each in items)
    assert logs.count("prepared 300 examples") == len(empty), "once on each node"
    assert all(any(disk.iterdir()) for disk in cluster.disks)
    assert sum(each.deaths for each in items) == 1, "a lost node is no death of its run"
    (tmp_path / "whole").mkdir()
    alone = small_items(tmp_path / "whole", RUNS, STEPS)
    assert swept(alone, LocalEngine([Share(cores=(), threads=1)]), tmp_path / "whole") == ["done"] * RUNS
    assert len(curves(tmp_path)) == RUNS
    assert curves(tmp_path) == curves(tmp_path / "whole")
