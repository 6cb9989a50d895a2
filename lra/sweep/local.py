"""The local engine: processes on this machine, which divide its cores, GPUs and memory among them.

Each process gets a fixed share before it starts: its own cores, as many threads, and one GPU. So its curve does not
depend on its neighbours.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lra.core.environment import free_memory
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.workers import Child, how_ended, paused_together
from lra.sweep.engine import Order
from lra.sweep.work import Answer
from lra.terminal.arguments import whole
from tasks import limits

WORKER = "lra.sweep.worker"  # the module of each process
OF_FREE = 0.9  # share of the free memory for all runs together
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True, kw_only=True)
class Share:
    """The part of the machine that one process uses."""

    cores: tuple[int, ...]
    threads: int
    gpu: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables that tell libraries the share."""
        found = {name: str(self.threads) for name in THREADS}
        if self.gpu is not None:
            found |= {"CUDA_VISIBLE_DEVICES": self.gpu, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
        return found


def shares(jobs: int | None, device: Device) -> list[Share]:
    """The machine in equal parts, one for each job. Default: one part on a CPU, else one for each GPU.

    Raises:
        UserError: The number of jobs is impossible.
    """
    gpus = visible_gpus() if device == "gpu" else []
    count = jobs or max(len(gpus), 1)
    cores, usable = sorted(limits.allowed_cores()), limits.usable_cores()
    if not 1 <= count <= 10 * max(usable, len(gpus)):
        most = 10 * max(usable, len(gpus))
        raise UserError(f"--jobs is {count:,}, expected at least 1 and at most {most}, ten for each core")
    own = max(1, usable // count)
    asked = whole(os.environ.get("OMP_NUM_THREADS", ""))
    threads = min(own, asked) if asked else own
    return [
        Share(
            cores=tuple(cores[(number * own + each) % len(cores)] for each in range(min(own, len(cores)))),
            threads=threads,
            gpu=gpus[number % len(gpus)] if gpus else None,
        )
        for number in range(count)
    ]


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    if (given := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [each.strip() for each in given.split(",") if each.strip()]
    try:
        done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [str(number) for number, line in enumerate(done.stdout.splitlines()) if line.startswith("GPU")]


@dataclass
class _Running:
    order: Order
    share: Share
    child: Child
    memory: int


class LocalEngine:
    """An Engine of processes on this machine, one for each share."""

    def __init__(self, parts: Sequence[Share], memory: int | None = None) -> None:
        """Make the engine. `memory`: bytes for all processes together; default: most of what is free now."""
        self._free = list(parts)
        self._memory = memory or int(OF_FREE * free_memory())
        self._running: list[_Running] = []
        self._jobs = len(self._free)

    @property
    def jobs(self) -> int:
        """The number of orders at a time."""
        return self._jobs

    def accepts(self, order: Order) -> bool:
        """Whether a share and enough memory are free. An order that runs alone is accepted despite its memory."""
        if not self._running:
            return True
        if not self._free or order.alone or any(each.order.alone for each in self._running):
            return False
        return sum(each.memory for each in self._running) + self._need(order) <= self._memory

    def start(self, order: Order) -> None:
        """Start to perform the order in its own process."""
        share = self._free[0]
        order.log.parent.mkdir(parents=True, exist_ok=True)
        # An order that runs alone gets the whole machine.
        environment, cores = ({}, []) if order.alone else (share.environment, list(share.cores))
        child = Child(WORKER, visible=False, log=order.log, environment=environment)
        child.send({**order.values, "cores": cores})
        self._free.remove(share)
        self._running.append(_Running(order, share, child, self._need(order)))

    def ended(self, seconds: float) -> list[tuple[Order, Answer]]:
        """The orders whose process has answered or died."""
        ready, _, _ = select.select([each.child for each in self._running], [], [], seconds)
        return [self._end(each) for each in list(self._running) if each.child in ready]

    def stop(self) -> list[tuple[Order, Answer]]:
        """Ask every process to save and end, and wait for each."""
        for each in self._running:
            each.child.terminate()
        try:
            return [self._end(each, stopping=True) for each in list(self._running)]
        finally:  # a second Ctrl-C
            for each in self._running:
                each.child.kill()

    @contextmanager
    def paused_with_us(self) -> Iterator[None]:
        """Within this context, Ctrl-Z pauses the processes too."""
        with paused_together(lambda: [each.child for each in self._running]):
            yield

    def _need(self, order: Order) -> int:
        return order.memory or self._memory // self._jobs

    def _end(self, each: _Running, *, stopping: bool = False) -> tuple[Order, Answer]:
        values = each.child.receive()
        code = each.child.end()
        self._running.remove(each)
        self._free.append(each.share)
        if values is not None:
            return each.order, Answer.from_values(values)
        if stopping:
            return each.order, Answer(state="stopped")
        hint = ": perhaps because memory ran out" if code == -signal.SIGKILL else ""
        return each.order, Answer(state="died", why=f"its process ended ({how_ended(code)}){hint}")
