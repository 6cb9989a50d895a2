"""Errors that are told to the user in one line."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1200  # characters of an error message; a quoted value may be much longer
# YNNPACK computes XLA's products on a CPU. Its only message for a failed allocation is the last one here.
OUT_OF_MEMORY_WORDS = (
    "out of memory",
    "resource_exhausted",
    "allocate memory",
    "bad_alloc",
    "alloc_failed",
    "ynnpack operation failed",
)


class UserError(Exception):
    """An error that the user can repair. Its one line says the problem, what was expected, and what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(shortened(text))


class DeviceFailed(Exception):
    """One of several devices that share each batch is gone, and with it the run; its last snapshot stays."""


def require(holds: bool, name: str, given: object, expected: str) -> None:
    """Raise UserError, which names the value and what was expected, unless the condition holds."""
    if not holds:
        raise UserError(f"{name} is {given}, expected {expected}")


def shortened(text: str) -> str:
    """The text; if it is longer than LONGEST, without its middle."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 300]} … {text[-250:]}"


def of_file(error: OSError) -> str:
    """The words of an error of the file system: the reason, and the file if one is known."""
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The words " did you mean 'steps'?" if a known name is similar, else an empty text."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f" did you mean {near[0]!r}?" if near else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether Python, PyTorch, JAX or CUDA reports a lack of memory by this error."""
    said = f"{type(error).__name__} {error}".lower()
    return isinstance(error, MemoryError) or any(words in said for words in OUT_OF_MEMORY_WORDS)
