"""PyTorch's global switches that decide a run's numbers: pinned around it, and put back as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import Any, NamedTuple

import torch

DENORMAL = 1e-40  # in float32


class Switch(NamedTuple):
    """One switch, what a run pins it to, and how it is read and set."""

    pinned: Any
    get: Callable[[], Any]
    set: Callable[[Any], Any]


def switches() -> dict[str, Any]:
    """What stands in each switch, as a record holds it."""
    return {name: _plain(switch.get()) for name, switch in _SWITCHES.items()} | {
        "default_device": str(torch.get_default_device())
    }


@contextmanager
def pinned() -> Iterator[None]:
    """Inside, every switch stands as a run needs it and gradients are on; afterwards all is as it was.

    The generators' states too: layers draw initial weights that a run then replaces.
    """
    before = {name: switch.get() for name, switch in _SWITCHES.items()}
    contexts = [torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[])]
    contexts += [torch.autocast(device, enabled=False) for device in ("cpu", "cuda")]
    if torch.get_default_device().type != "cpu":  # else a context would only slow every call
        contexts.append(torch.device("cpu"))
    try:
        with ExitStack() as held:
            for context in contexts:
                held.enter_context(context)
            for switch in _SWITCHES.values():
                switch.set(switch.pinned)
            yield
    finally:
        for name, switch in _SWITCHES.items():
            switch.set(before[name])


def _flushes() -> bool:
    """Whether this thread takes denormal numbers for zero; PyTorch has no other way to ask."""
    return (torch.tensor(DENORMAL, dtype=torch.float32, device="cpu") * 1).item() == 0


def _attribute(path: str, pinned: Any) -> Switch:
    owner, _, name = path.rpartition(".")
    return Switch(pinned, lambda: attrgetter(path)(torch), lambda value: setattr(attrgetter(owner)(torch), name, value))


def _deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _set_deterministic(value: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(value[0], warn_only=value[1])


def _of_precision() -> dict[str, Switch]:
    """float32 products and convolutions in float32 itself: one switch a library since PyTorch 2.9, before that one."""
    if not hasattr(torch.backends, "fp32_precision"):
        switch = Switch("highest", torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
        return {"float32_matmul_precision": switch, "cudnn.allow_tf32": _attribute("backends.cudnn.allow_tf32", False)}
    libraries = ("cuda.matmul", "cudnn.conv", "mkldnn.matmul", "mkldnn.conv")
    return {f"{name}.fp32_precision": _attribute(f"backends.{name}.fp32_precision", "ieee") for name in libraries}


def _plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | str) else str(value)


_SWITCHES = {
    "default_dtype": Switch(torch.float32, torch.get_default_dtype, torch.set_default_dtype),
    "deterministic_algorithms": Switch((False, False), _deterministic, _set_deterministic),
    "flush_denormal": Switch(False, _flushes, torch.set_flush_denormal),
    "mkldnn.enabled": _attribute("backends.mkldnn.enabled", True),
    "cudnn.benchmark": _attribute("backends.cudnn.benchmark", False),
    **_of_precision(),
}
