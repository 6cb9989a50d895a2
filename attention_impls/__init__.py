"""The registry of attention mechanisms. Each folder here with a torch_impl.py or a jax_impl.py is a mechanism."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from attention_impls.adapter import adapt, adapt_card, default_card
from attention_impls.base import Attention, AttentionError, Layer, nearest
from attention_impls.contract import with_contract

HERE = Path(__file__).parent
BACKENDS = ("torch", "jax")


class UnknownAttention(AttentionError):
    """A name or a path without a mechanism."""


@dataclass(frozen=True)
class Mechanism:
    """One mechanism: its card, and its code, which is imported at first use."""

    name: str
    card: Attention
    folder: Path
    module: str
    adapted: str = ""
    """The framework whose module gave the card its arrays; empty if the folder's card has them."""

    def __reduce__(self) -> tuple[Callable[..., Mechanism], tuple[str, str]]:
        """Copies and pickles hold only the name, since cards hold functions that cannot be pickled."""
        return _found_again, (self.name if self.folder.parent == HERE else str(self.folder), self.adapted)

    @property
    def sources(self) -> str | None:
        """Hash of the Python files of a mechanism from outside this package; None for one inside."""
        if self.folder.parent == HERE:
            return None
        digest = hashlib.sha256()
        for path in sorted(self.folder.rglob("*.py")):
            if not any(part.startswith((".", "__pycache__")) for part in path.relative_to(self.folder).parts):
                content = path.read_bytes()
                digest.update(f"{path.relative_to(self.folder).as_posix()} {len(content)} ".encode() + content)
        return digest.hexdigest()[:12]

    @property
    def backends(self) -> tuple[str, ...]:
        """The frameworks in which the mechanism is written."""
        return tuple(backend for backend in BACKENDS if (self.folder / f"{backend}_impl.py").exists())

    def attend(self, backend: str) -> Callable[..., Any]:
        """The `attend` of one framework. ValueError if there is none."""
        if backend not in self.backends:
            raise ValueError(f"{self.name} is not written in {backend}: choose {' or '.join(self.backends)}")
        code = self._code(backend)
        attend = code.attend if hasattr(code, "attend") else adapt(backend, code.Attention)
        return with_contract(attend, self.card, backend)

    def reference(self) -> Callable[..., Any]:
        """The `attend` of reference.py, in NumPy float64, from the paper's equations."""
        attend = importlib.import_module(f"{self.module}.reference").attend

        def call(*inputs: Any, **given: Any) -> Any:
            return attend(*inputs, layer=Layer(**given))

        return call

    def on(self, backend: str) -> Mechanism:
        """The mechanism for one framework. If its code is a module, its card gets the module's arrays."""
        if self.folder.parent == HERE or backend not in self.backends or self.adapted == backend:
            return self
        if not importlib.util.find_spec(backend):
            return self
        code = self._code(backend)
        if hasattr(code, "attend"):
            return self
        return replace(self, card=adapt_card(self.card, backend, code.Attention), adapted=backend)

    def _code(self, backend: str) -> ModuleType:
        code = importlib.import_module(f"{self.module}.{backend}_impl")
        if not hasattr(code, "attend") and not hasattr(code, "Attention"):
            raise AttentionError(f"{self.folder / f'{backend}_impl.py'} has neither `attend` nor `class Attention`")
        return code


def names() -> list[str]:
    """The names of all mechanisms of this package, sorted. Imports nothing."""
    return sorted(folder.name for folder in HERE.iterdir() if _is_mechanism(folder))


def load(name: str) -> Mechanism:
    """Load the mechanism called `name`; a `name` with a slash is the path of a folder.

    Raises:
        UnknownAttention: There is no such mechanism. The message has the nearest name.
    """
    if "/" in name:
        return _load_folder(_folder(name))
    if name not in os.listdir(HERE) or not _is_mechanism(HERE / name):
        raise UnknownAttention(f"unknown attention {name!r}: {nearest(name, names())}available: {', '.join(names())}")
    module = f"{__name__}.{name}"
    return Mechanism(name, importlib.import_module(module).CARD, HERE / name, module)


def _found_again(name: str, adapted: str) -> Mechanism:
    """The inverse of `Mechanism.__reduce__`."""
    mechanism = load(name)
    return mechanism.on(adapted) if adapted else mechanism


def _folder(name: str) -> Path:
    """The folder for a name, which need not exist. UnknownAttention for an impossible name."""
    try:
        folder = Path(name).expanduser().resolve()
        folder.exists()
        name.encode()  # the name must fit into a record
    except (OSError, ValueError, RuntimeError) as error:
        raise UnknownAttention(f"no attention in {name[:60]!r}, expected the name of a folder: {error}") from error
    return folder


def _is_mechanism(folder: Path) -> bool:
    return any((folder / f"{backend}_impl.py").exists() for backend in BACKENDS)


def _load_folder(folder: Path) -> Mechanism:
    """A mechanism from outside the package, imported under a unique name so that relative imports work."""
    if not _is_mechanism(folder):
        raise UnknownAttention(
            f"no attention in {folder}: expected torch_impl.py or jax_impl.py, and __init__.py with CARD (optional for "
            "modules, class Attention)"
        )
    module = f"outside_attention_{hashlib.sha256(str(folder).encode()).hexdigest()[:12]}"
    if module not in sys.modules:
        _import_package(module, folder)
    return Mechanism(folder.name, sys.modules[module].CARD, folder, module)


def _import_package(module: str, folder: Path) -> None:
    """Import the folder's __init__.py. Without one, or without CARD in it, the package gets a default card."""
    if not (folder / "__init__.py").exists():
        package = sys.modules[module] = ModuleType(module)
        package.__path__ = [str(folder)]
    else:
        package = _import_init(module, folder)
    if not hasattr(package, "CARD"):
        package.CARD = default_card(folder.name)  # pyright: ignore[reportAttributeAccessIssue]


def _import_init(module: str, folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        module, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise UnknownAttention(f"cannot import {folder}: expected a Python package")
    package = importlib.util.module_from_spec(spec)
    sys.modules[module] = package
    try:
        spec.loader.exec_module(package)
    except BaseException:
        del sys.modules[module]
        raise
    return package
