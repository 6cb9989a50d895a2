"""A Ray cluster that is broken at random moments: `python -m tests.evidence.ray_cluster [RUNS] [KILLS] [SEED]`.

A sweep trains on two nodes of one core. Workers get SIGKILL; one node is killed whole; one is cut off: the cluster
takes it for dead, and its run goes on. Writes results/evidence/ray.md.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from lra.core.environment import ROOT
from lra.sweep import items as queue
from lra.sweep import lease, local, on_ray, plan
from lra.sweep.engine import Order
from lra.sweep.items import Item
from lra.sweep.on_ray import RayEngine
from lra.sweep.runner import Sweep
from lra.terminal.console import console
from lra.training import data
from lra.training.trainer import Place
from tasks.base import Source
from tests.evidence.sweeps import Outcome, compared, made_by, outcome_rows, unbroken_apart

# Long enough that the cluster notices a lost node while its run still goes on.
BLOCK = (
    "sweep:\n  - {task: listops, attn: linear, backend: torch, preset: smoke, seeds: %d, grid: {model.width: 8, "
    "model.depth: 1, train.batch_size: 2, train.chunk: 5, train.steps: 3000, train.evaluate_every: 1000}}\n"
)
SOON = {"health_check_period_ms": 1000, "health_check_timeout_ms": 4000, "health_check_failure_threshold": 2}
KINDS = ("runs", "workers of Ray")
SLOWEST = 1500.0  # seconds that a campaign may take


def hasty_task(order: Order, threads: int) -> dict[str, Any]:
    """The engine's task, whose run saves often and soon notices that its parent is gone."""
    local.WORKER = "tests.evidence.hasty_worker"
    return on_ray.ray_task(order, threads)


@contextmanager
def small_cluster(folder: Path) -> Iterator[Any]:
    """A head without cores, and two nodes of one core, each with a disk of its own for prepared data."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ["PYTHONPATH"] = os.pathsep.join(dict.fromkeys([str(ROOT), *sys.path]))
    cluster = import_module("ray.cluster_utils").Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, "_system_config": SOON}
    )
    try:
        yield Breakable(cluster, folder)
    finally:
        import_module("ray").shutdown()
        cluster.shutdown()


class Breakable:
    """The cluster's nodes, and what is done to them."""

    def __init__(self, cluster: Any, folder: Path) -> None:
        self.address: str = cluster.address
        self._cluster, self._folder, self._made = cluster, folder, 0
        self._nodes = [self._node() for _ in range(2)]

    def _node(self) -> Any:
        self._made += 1
        home = self._folder / f"disk {self._made}"
        home.mkdir()
        return self._cluster.add_node(num_cpus=1, env_vars={"LRA_HOME": str(home)})

    def kill(self, pid: int) -> bool:
        """Kill the node that runs this process, all of it, and add another."""
        return self._lose(pid, lambda node: self._cluster.remove_node(node, allow_graceful=False))

    def cut_off(self, pid: int) -> bool:
        """Stop what answers for the node that runs this process, which goes on, and add another node."""
        return self._lose(pid, lambda node: _agent(node).send_signal(signal.SIGSTOP))

    def _lose(self, pid: int, act: Any) -> bool:
        for place, node in enumerate(self._nodes):
            if pid in {each.pid for each in _agent(node).children(recursive=True)}:
                act(node)
                self._nodes[place] = self._node()
                return True
        return False

    def dead(self) -> int:
        """Nodes that the cluster takes for dead."""
        return sum(not each["Alive"] for each in import_module("ray").nodes())


def _agent(node: Any) -> psutil.Process:
    """A node's process, whose children are its workers."""
    return psutil.Process(node.all_processes["raylet"][0].process.pid)


@dataclass
class Breaker:
    """Breaks a sweep while it runs: KILLS random kills, and a node lost and a node cut off among them."""

    cluster: Breakable
    results: Path
    kills: int
    rng: random.Random
    done: Counter[str] = field(default_factory=Counter)
    cut: int = 0
    """The process of the run whose node is cut off."""
    outlived: float = 0.0
    """Seconds that it trained after the cluster took its node for dead."""
    _dead_since: float = math.inf
    _next: float = 0.0

    def __call__(self) -> None:
        """Called every half second."""
        self._watch()
        leases = [each for each in map(lease.held, self.results.glob(".work/*")) if each and each.pid != self.cut]
        training = {each.pid: each.step for each in leases if each.step}
        if not training or time.monotonic() < self._next:
            return
        pid, turn = self.rng.choice(sorted(training)), self.done.total()
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if turn == self.kills // 3 and not self.done["nodes"]:
                self.done["nodes"] += self.cluster.kill(pid)
            elif turn == 2 * self.kills // 3 and not self.cut:
                pid = min(training, key=lambda each: training[each])  # it shall still run when the cluster notices
                self.cut = pid if self.cluster.cut_off(pid) else 0
                self.done["nodes cut off"] += bool(self.cut)
            elif turn < self.kills:
                kind = KINDS[turn % len(KINDS)]
                os.kill(pid if kind == KINDS[0] else psutil.Process(pid).ppid(), signal.SIGKILL)
                self.done[kind] += 1
        self._next = time.monotonic() + self.rng.uniform(1, 8)

    def _watch(self) -> None:
        if self.cut and self.cluster.dead() >= 2 and psutil.pid_exists(self.cut):
            self._dead_since = min(self._dead_since, time.monotonic())
            self.outlived = time.monotonic() - self._dead_since


def campaign(folder: Path, runs: int, kills: int, seed: int) -> tuple[Outcome, Breaker]:
    """Train so many runs on a cluster that is broken so often; compare with the unbroken runs."""
    path, results = folder / "plan.yaml", folder / "broken"
    path.write_text(BLOCK % runs, encoding="utf-8")
    whole = unbroken_apart(path, folder / "whole")
    place = Place(results=results, device="cpu")
    found = queue.items(plan.load(path), lambda backend: False)
    queue.identify(found, results, lambda run: data.prepare(run.task, run.data, Source()))
    former, on_ray.ray_task = on_ray.ray_task, hasty_task
    try:
        with small_cluster(folder) as cluster:
            breaker = Breaker(cluster, results, kills, random.Random(seed))
            _swept(found, place, RayEngine(cluster.address, cpus=1, gpu=False), breaker)
    finally:
        on_ray.ray_task = former
    return compared(whole, results), breaker


def _swept(found: list[Item], place: Place, engine: RayEngine, breaker: Breaker) -> None:
    """Train them all; a run whose process was killed too often is begun again, as a user would."""
    end = time.monotonic() + SLOWEST
    while any(each.status != "done" for each in found):
        assert time.monotonic() < end, f"not finished after {SLOWEST:.0f} s: {[each.status for each in found]}"
        for each in found:
            if each.status == "failed":
                each.status, each.deaths = "waiting", 0
        Sweep(found, place, show=breaker).run(engine, lambda: end - time.monotonic())


def page(found: Outcome, broken: Breaker, runs: int, seconds: float, seed: int) -> str:
    """The campaign in Markdown."""
    killed = ", ".join(f"{kind}: {count}" for kind, count in sorted(broken.done.items()) if kind != "nodes cut off")
    return (
        "# A Ray cluster that is broken\n\n"
        f"A sweep trains {runs} runs on two nodes of one core each. At random moments SIGKILL ends a run's process, "
        "the Ray worker above it, or a whole node. Another node is cut off: the cluster takes it for dead, begins its "
        "task again elsewhere, and the run on the lost node goes on. A new node replaces each lost one. Each run has "
        "to have exactly one record, equal to that of the unbroken run, bit for bit. "
        f"{made_by('ray_cluster', runs, broken.kills, seed, seconds)}\n\n"
        "| | |\n|---|---:|\n"
        f"| killed | {killed} |\n"
        f"| nodes cut off | {broken.done['nodes cut off']} |\n"
        f"| seconds that its run went on after the cluster gave it up | {broken.outlived:.0f} |\n"
        f"{outcome_rows(found)}"
    )


def main(runs: int = 20, kills: int = 12, seed: int = 0) -> int:
    """Run the campaign and write the page; the exit code, 1 where it did not hold."""
    console.quiet = True
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="lra-ray-") as folder:
        found, broken = campaign(Path(folder), runs, kills, seed)
    text = page(found, broken, runs, time.monotonic() - began, seed)
    (ROOT / "results" / "evidence" / "ray.md").write_text(text, encoding="utf-8")
    print(text)
    return int(not (found.held and broken.outlived))


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
