"""A process that computes one device's shares of the batches, as rank 0 tells it (lra.backends.torch.leader)."""

from __future__ import annotations

import os
import threading
from typing import Any

import torch

from lra.backends.torch.backend import State, TorchBackend
from lra.backends.torch.ranks import Member
from lra.backends.torch.switches import pinned
from lra.core.errors import DeviceFailed, is_out_of_memory
from lra.core.workers import serve


def answer(order: Any) -> dict[str, Any]:
    """Answer the first order with readiness, and the second, which has the rank, with the reason of a failure."""
    if "ready" in order:
        return order
    threading.Thread(target=_end_with_leader, daemon=True).start()
    try:
        with pinned():
            follow(Member(order["rank"], order["count"], order["store"], torch.device(order["device"])))
    except DeviceFailed:  # another rank failed, and reports why
        return _last("", memory=False)
    except Exception as error:  # rank 0 reports any error
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        return _last(said, memory=is_out_of_memory(error))
    raise AssertionError("it follows until it fails or is ended")


def follow(ranks: Member) -> None:
    """Repeat the calls of rank 0, each on this rank's share."""
    blueprint, sharing = ranks.exchange([])
    backend = TorchBackend(blueprint, ranks.device, sharing=sharing, ranks=ranks)
    states: dict[int, State] = {}
    while True:
        method, values = ranks.exchange([])
        if method == "start":
            state = backend.start(*values)
            states[state.number] = state
        elif method == "train_steps":
            number, chunk = values
            backend.train_steps(states[number], [chunk])
        elif method == "evaluate":
            number, chunk = values
            backend.evaluate(states[number], chunk)
        else:
            getattr(backend, method)(*values)


def _last(error: str, *, memory: bool) -> dict[str, Any]:
    """Send a last answer and end this process. The others notice its end, and read the reason."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # there are no more orders
    return {"error": error, "memory": memory}


def _end_with_leader() -> None:
    """Wait for the end of rank 0. No order follows the second one."""
    while os.read(0, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    serve(answer)
