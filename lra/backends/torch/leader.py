"""Rank 0 of several: it starts the processes of the other ranks, orders their work, and names one that failed."""

from __future__ import annotations

import os
import select
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lra.backends.torch.ranks import Member
from lra.core.errors import DeviceFailed, UserError, shortened
from lra.core.workers import Child, how_ended
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.sharing import Sharing, shares
from lra.terminal.console import console

PEER = "lra.backends.torch.peer"
REASON = 5.0  # seconds that a failed process has to report the reason
GRACE = 60.0  # seconds until this process ends if it waits for a rank that ended; NCCL would wait for ever


class Leader(Member):
    """The ranks as rank 0 sees them, one for each device. `close` ends the others; so does the end of this process."""

    def __init__(self, blueprint: Blueprint, devices: Sequence[torch.device], sharing: Sharing) -> None:
        _require_free()
        self.names = tuple(map(name_of, devices))
        self._noticed = self._closing = False
        self._folder = tempfile.TemporaryDirectory(prefix="lra-ranks-", ignore_cleanup_errors=True)
        self._children: list[Child] = []
        self._watch = threading.Thread(target=self._end_if_stuck, name="ranks", daemon=True)
        try:
            self._start(devices)
            self.exchange([(blueprint, sharing)] * self.count)
        except BaseException:
            self.close()
            raise

    @property
    def cores(self) -> int:
        return max(1, torch.get_num_threads() // len(self.names))

    def tell(self, method: str, *values: Any) -> None:
        self.exchange([(method, values)] * self.count)

    def share(self, method: str, number: int, chunk: Chunk) -> Chunk:
        _, (_, own) = self.exchange([(method, (number, each)) for each in shares(chunk, self.count)])
        return own

    def lost(self, error: RuntimeError) -> Exception:
        self._noticed = True
        return self._reason() or DeviceFailed(f"the devices lost each other: {shortened(str(error))}")

    def close(self) -> None:
        self._closing = True
        for child in self._children:
            child.kill()
        if self._watch.is_alive():
            self._watch.join()
        if not (self._noticed and self.device.type == "cuda"):  # NCCL would wait for those that are gone
            super().close()
        self._folder.cleanup()

    def _start(self, devices: Sequence[torch.device]) -> None:
        """Start a process for each of the other devices, and join their group."""
        store = str(Path(self._folder.name) / "store")
        threads = {"OMP_NUM_THREADS": str(self.cores)}
        self._children += [Child(PEER, visible=False, environment=threads) for _ in devices[1:]]
        for rank, (child, device) in enumerate(zip(self._children, devices[1:], strict=True), start=1):
            child.send({"ready": True})
            child.send({"rank": rank, "count": len(devices), "store": store, "device": str(device)})
        for rank, child in enumerate(self._children, start=1):
            if child.receive() is None:
                raise self._ended(rank)
        self._watch.start()
        super().__init__(0, len(devices), store, devices[0])

    def _reason(self) -> Exception | None:
        """The reason of the first other rank that failed or ended; None if there is none."""
        deadline, waiting = time.monotonic() + REASON, dict(enumerate(self._children, start=1))
        while waiting and (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select(list(waiting.values()), [], [], left)
            for rank in [rank for rank, child in waiting.items() if child in ready]:
                said = waiting.pop(rank).receive()
                if said is None:
                    return self._ended(rank)
                if said["memory"]:
                    return MemoryError(f"{self._which(rank)}: {said['error']}")
                if said["error"]:
                    return DeviceFailed(f"{self._which(rank)} failed: {said['error']}")
        return None

    def _ended(self, rank: int) -> DeviceFailed:
        child = self._children[rank - 1]
        code = child.kill()
        how = f"{'was ended by' if code < 0 else 'ended with'} {how_ended(code)}"
        said = next(reversed(child.last_words()), "")
        return DeviceFailed(f"{self._which(rank)} failed: its process {how}{said and f', its last words: {said}'}")

    def _which(self, rank: int) -> str:
        return f"device {rank + 1} of {len(self.names)} ({self.names[rank]})"

    def _end_if_stuck(self) -> None:
        """End this process if another rank ended and the main thread still waits for it."""
        select.select(self._children, [], [])
        deadline = time.monotonic() + GRACE
        while time.monotonic() < deadline:
            if self._closing or self._noticed:
                return
            time.sleep(0.1)
        reason = self._reason() or "a device failed"
        for child in self._children:
            child.kill()
        console.show_cursor(True)
        print(
            f"error: {reason}; --resume continues from the last snapshot, if there is one", file=sys.stderr, flush=True
        )
        os._exit(1)


def name_of(device: torch.device) -> str:
    """The name of a device in a record."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _require_free() -> None:
    """Raise UserError if this process cannot lead others."""
    if not dist.is_available():
        raise UserError("--devices needs torch.distributed, which this build of PyTorch lacks: leave --devices out")
    if dist.is_initialized() or dist.is_torchelastic_launched():
        raise UserError(
            "--devices starts a process for each device, but this process is one of a group of torch.distributed: "
            "start it without torchrun"
        )
