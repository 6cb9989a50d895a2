"""The Long Range Arena suite: training and timing of attention mechanisms on long sequences, in PyTorch and JAX.

The library is `lra.resolve`, `lra.train`, `lra.benchmark` and `lra.load_records`. lra.library has their documentation.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lra.library import benchmark, load_records, resolve, train

__all__ = ["benchmark", "load_records", "resolve", "train"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import a function of the library at its first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("lra.library"), name)
