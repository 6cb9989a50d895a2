"""What the tests of layers in both frameworks share: one spelling for arrays, layers and what is asked of them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BACKENDS = pytest.mark.parametrize("backend", ["torch", "jax"])
SIZES = {"heads": 2, "head_dim": 8, "max_length": 64}
TOKENS = 37


def layers(backend: str) -> Any:
    """The package of layers of a framework; a skipped test where that is not installed."""
    pytest.importorskip(backend)
    return import_module(f"attention_impls.{'torch' if backend == 'torch' else 'flax'}")


def made(backend: str, mechanism: str, **given: Any) -> Any:
    """An Attention at SIZES, drawn from seed 0."""
    return layers(backend).Attention(mechanism, **{**SIZES, **seeded(backend), **given})


def seeded(backend: str) -> dict[str, Any]:
    """What makes a layer draw the same arrays again."""
    if backend == "torch":
        return {"seed": 0}
    from flax import nnx

    return {"rngs": nnx.Rngs(0)}


def array(backend: str, values: Any, dtype: Any = None) -> Any:
    """The framework's array of these values; numbers with a fraction are float32."""
    pytest.importorskip(backend)
    values = np.asarray(values, dtype)
    values = values.astype(np.float32) if values.dtype == np.float64 else values
    if backend == "torch":
        import torch

        return torch.tensor(values)
    import jax.numpy as jnp

    return jnp.asarray(values)


def numbers(found: Any) -> np.ndarray:
    """A framework's array in NumPy."""
    return np.asarray(found.detach() if hasattr(found, "detach") else found)


def drawn(backend: str, tokens: int = TOKENS, batch: int = 2, width: int = 16) -> tuple[dict[str, Any], Any]:
    """Standard normal q, k and v by letter, and x."""
    rng = np.random.default_rng(0)
    shape = (batch, tokens, SIZES["heads"], SIZES["head_dim"])
    return {letter: array(backend, rng.normal(size=shape)) for letter in "qkv"}, array(
        backend, rng.normal(size=(batch, tokens, width))
    )


def own_arrays(backend: str, layer: Any) -> dict[str, np.ndarray]:
    """A layer's learned arrays and constants by the names of its card."""
    if backend == "torch":
        return {name: numbers(each) for name, each in layer.state_dict().items()}
    return {name: numbers(each[...]) for name, each in {**layer.params, **layer.constants}.items()}


def outside(path: Path, card: str, code: str) -> str:
    """The path of a folder with a mechanism of its own, in both frameworks."""
    path.mkdir()
    (path / "__init__.py").write_text(card)
    for backend in ("torch", "jax"):
        (path / f"{backend}_impl.py").write_text(code)
    return str(path)
