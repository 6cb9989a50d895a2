"""The Ray engine: each order is a task of a Ray cluster, which gives it cores, a GPU and memory on one of its nodes."""

from __future__ import annotations

import os
import signal
import socket
import time
from dataclasses import asdict
from importlib import import_module
from typing import Any

from lra.core.errors import UserError, shortened
from lra.core.markup import one_line
from lra.sweep.engine import Order
from lra.sweep.remote import Performance, for_elsewhere
from lra.sweep.work import Answer

RETRIES = 10  # times that Ray restarts a task whose node or worker was lost


def ray_task(order: Order, threads: int) -> dict[str, Any]:
    """Perform the order on this node. Returns an Answer as plain values. Ray interrupts the call to cancel it."""
    work = Performance(order, threads)
    try:
        return asdict(work.answer())
    except KeyboardInterrupt:
        return asdict(work.stop())


class RayEngine:
    """An Engine of tasks on a Ray cluster, as many at a time as the cluster has room for."""

    def __init__(self, address: str | None, *, cpus: int, gpu: bool, jobs: int | None = None) -> None:
        """Connect to the cluster at `address`; None: that of this machine, or a new one. A run gets `cpus` and `gpu`.

        Raises:
            UserError: There is no Ray, no cluster, or no node with these resources.
        """
        self._ray = _connected(address)
        self._cpus, self._gpu, self._asked = cpus, gpu, jobs
        self._running: dict[Any, Order] = {}
        needs = {"CPU": cpus, "GPU": int(gpu)}
        nodes = [each["Resources"] for each in self._ray.nodes() if each["Alive"]]
        fitting = [each for each in nodes if all(each.get(name, 0) >= count for name, count in needs.items())]
        if not fitting:
            wanted = f"{cpus} CPU and {int(gpu)} GPU"
            raise UserError(f"no node of the Ray cluster has {wanted} for a run: start such a node, or change --cpus")
        self._memory = int(max(each.get("memory", 0) for each in fitting))
        self._room = self._counted()

    @property
    def jobs(self) -> int:
        """The number of orders at a time."""
        return self._asked or self._room

    def accepts(self, order: Order) -> bool:
        """Whether there is room. Orders that need a machine alone are refused."""
        return not order.alone and len(self._running) < self.jobs

    def start(self, order: Order) -> None:
        """Submit the order to Ray."""
        order.log.parent.mkdir(parents=True, exist_ok=True)
        # A request for more memory than a node has would wait forever, so the run may try with what a node has.
        memory = {"memory": min(order.memory, self._memory)} if order.memory else {}
        needs = {"num_cpus": self._cpus, "num_gpus": int(self._gpu), "max_retries": RETRIES, **memory}
        task = self._ray.remote(**needs)(ray_task)
        self._running[task.remote(for_elsewhere(order), self._cpus)] = order

    def ended(self, seconds: float) -> list[tuple[Order, Answer]]:
        """The orders whose task has ended, or was lost too often."""
        if not self._running:
            time.sleep(seconds)
            return []
        self._ray.wait(list(self._running), timeout=seconds)
        self._room = self._counted()
        return self._taken(0.0)

    def stop(self) -> list[tuple[Order, Answer]]:
        """Cancel every task, so that its run saves, and wait for all of them."""
        for each in self._running:
            self._ray.cancel(each)
        stopped = Answer(state="stopped")
        return [(order, stopped if each.state == "died" else each) for order, each in self._taken(None)]

    def _taken(self, seconds: float | None) -> list[tuple[Order, Answer]]:
        if not self._running:
            return []
        ready, _ = self._ray.wait(list(self._running), num_returns=len(self._running), timeout=seconds)
        return [(self._running.pop(each), self._answer(each)) for each in ready]

    def _answer(self, task: Any) -> Answer:
        try:
            return Answer.from_values(self._ray.get(task))
        except self._ray.exceptions.RayError as error:
            return Answer(state="died", why=f"Ray lost its task: {shortened(one_line(str(error)))}")

    def _counted(self) -> int:
        """The number of runs that the cluster has room for now; nodes come and go."""
        there = self._ray.cluster_resources()
        rooms = [there.get("CPU", 0) // self._cpus, *([there.get("GPU", 0)] if self._gpu else [])]
        return max(1, int(min(rooms)))


def require_answer(address: str) -> None:
    """Raise UserError if nothing responds at HOST:PORT. Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError, ValueError) as error:
        raise UserError(
            f"--address {address}: nothing responds ({error}): give the address that `ray start --head` printed"
        ) from error


def _connected(address: str | None) -> Any:
    """Ray, connected."""
    try:
        ray = import_module("ray")
    except ImportError as error:
        raise UserError("--engine ray needs the package ray: pip install -e '.[ray]'") from error
    if address:
        require_answer(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that we start sends no usage statistics
    former = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address, log_to_driver=False, logging_level="error", ignore_reinit_error=True)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = address or "here"
        raise UserError(f"no Ray cluster at {where}: {shortened(one_line(str(error)))}: correct --address") from error
    signal.signal(signal.SIGTERM, former)  # Ray's handler would end this process before its runs have saved
    return ray
