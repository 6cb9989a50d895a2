"""Facts about the two frameworks that need no import of them: which are installed, and which one is the default."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Literal

from lra.core.errors import UserError

BackendName = Literal["torch", "jax"]
Device = Literal["cpu", "gpu"]

_NEEDS = {"torch": ("torch",), "jax": ("jax", "flax", "optax")}


def installed(name: str) -> bool:
    """Whether the framework's packages are installed. Loads none of them."""
    return all(find_spec(package) for package in _NEEDS[name])


def usual() -> BackendName:
    """The default framework: PyTorch, or the only one that is installed."""
    return "jax" if installed("jax") and not installed("torch") else "torch"


def require_installed(name: str) -> None:
    """Raise UserError if packages of a framework are missing. Loads none of them."""
    if not installed(name):
        missing = ", ".join(package for package in _NEEDS[name] if not find_spec(package))
        raise UserError(f"the {name} backend needs {missing}: pip install -e '.[{name}]', or choose another --backend")
