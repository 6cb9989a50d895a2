"""The Long Range Arena suite: tasks, attention mechanisms, training and measuring, in PyTorch and JAX.

The library is `lra.resolve`, `lra.train`, `lra.benchmark` and `lra.load_records`; lra.library says what they do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lra.library import benchmark, load_records, resolve, train

__all__ = ["benchmark", "load_records", "resolve", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The library's functions, imported when they are first asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lra.library"), name)
