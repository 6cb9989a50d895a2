"""The processes that share each batch in PyTorch, one for each device, as one of them sees the others.

Rank 0 is the process that the user started. It has the loop, the screen, the snapshots and the record. The others have
the same state and follow its orders (lra.backends.torch.peer). Each rank computes the gradients of its share. These are
summed over the ranks, and every rank takes the same optimiser step. DistributedDataParallel does the same for a model
that fits into one of its buckets. But it sums inside the backward pass of one graph, while the groups of a batch are
several graphs, in threads.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psutil
import torch
import torch.distributed as dist
from torch import Tensor

from lra.core.errors import DeviceFailed
from lra.model.batches import Chunk

PATIENCE = timedelta(days=30)
"""The time that a rank waits for another, which may be stopped for hours. A rank that ended is noticed at once."""
LOOPBACK = "127.0.0.1"
INTERFACE = "GLOO_SOCKET_IFNAME"


class Ranks:
    """One process alone. There are no other ranks, so nothing is sent or added."""

    count = 1
    names: tuple[str, ...] = ()
    """Names of the devices, by rank. Empty for one process alone."""

    @property
    def cores(self) -> int:
        """Threads that this process may use."""
        return torch.get_num_threads()

    def tell(self, method: str, *values: Any) -> None:
        """Make every other rank call that method of its backend with these values."""

    def share(self, method: str, number: int, chunk: Chunk) -> Chunk:
        """Make every rank call that method with state `number` and its share of the chunk. Returns the own share."""
        return chunk

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Sum each of the tensors over the ranks, in place."""

    def close(self) -> None:
        """End the other ranks."""


class Member(Ranks):
    """One of several ranks. All of them add the same tensors in the same order."""

    def __init__(self, rank: int, count: int, store: str, device: torch.device) -> None:
        """Join the group. `store` is the path of a file through which the ranks find each other."""
        self.count, self.rank, self.device = count, rank, device
        backend = "gloo" if device.type == "cpu" else "cpu:gloo,cuda:nccl"
        if device.type == "cuda":
            torch.cuda.set_device(device)
        with local_sockets():
            dist.init_process_group(backend, f"file://{store}", timeout=PATIENCE, rank=rank, world_size=count)

    def add(self, tensors: Sequence[Tensor]) -> None:
        with torch.no_grad(), self.joined():
            flat = torch.cat([each.reshape(-1) for each in tensors])
            dist.all_reduce(flat)
            for each, part in zip(tensors, flat.split([each.numel() for each in tensors]), strict=True):
                each.copy_(part.view_as(each))

    def exchange(self, messages: Sequence[Any]) -> Any:
        """Receive this rank's message. Rank 0 gives one for each rank; the `messages` of others are ignored."""
        found: list[Any] = [None]
        with self.joined():
            dist.scatter_object_list(found, list(messages), src=0)
        return found[0]

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Within this context, a rank that ended raises DeviceFailed."""
        try:
            yield
        except RuntimeError as error:  # from gloo or NCCL; its text has only addresses
            raise self.lost(error) from error

    def lost(self, error: RuntimeError) -> Exception:
        """The exception to raise after a lost connection."""
        return DeviceFailed(f"rank {self.rank} lost the others: {error}")

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


@contextmanager
def local_sockets() -> Iterator[None]:
    """Within this context, gloo's sockets are local. It unpickles what it receives, so no other machine may connect."""
    names = [name for name, found in psutil.net_if_addrs().items() if any(each.address == LOOPBACK for each in found)]
    before = os.environ.get(INTERFACE)
    if names:
        os.environ[INTERFACE] = names[0]
    try:
        yield
    finally:
        os.environ.pop(INTERFACE, None)
        if before is not None:
            os.environ[INTERFACE] = before
