"""What a command says where it cannot do what it was asked for."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1200  # characters of an error; what it quotes may have any number
# YNNPACK, which computes XLA's products on a CPU, has no other word for a buffer that it does not get.
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "resource_exhausted",
    "allocate memory",
    "bad_alloc",
    "alloc_failed",
    "ynnpack operation failed",
)


class UserError(Exception):
    """Something the user can repair, told in one line: the problem, what was expected, what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text))


class DeviceFailed(Exception):
    """One of several devices that share each batch is gone, and with it the run; its last snapshot stays."""


def shortened(text: str) -> str:
    """The text without its middle where it is longer than people read."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} … {text[-250:]}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The words " did you mean 'steps'?" where a known name is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" did you mean {near[0]!r}?" if near else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether that is how Python, PyTorch, JAX or CUDA says so."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY_WORDS)
