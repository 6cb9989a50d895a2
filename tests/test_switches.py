"""Global switches of a framework: a run's numbers do not depend on them, and they are left as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from small import MODEL, blueprint, chunks, losses, split

from lra import backends
from lra.model.weights import initial_weights

PLAN = blueprint("elfatt", replace(MODEL, dropout=0.1, width=32, ffn=64))


def curve(name: str) -> np.ndarray:
    """Losses of six steps, pinned as a run is."""
    with backends.pinned(name):
        return losses(name, PLAN, initial_weights(PLAN), chunks(split()))[0]


TORCH_SWITCHES: dict[str, Callable[[Any], Any]] = {
    "default_dtype": lambda torch: torch.set_default_dtype(torch.float64),
    "deterministic": lambda torch: torch.use_deterministic_algorithms(True, warn_only=True),
    "flush_denormal": lambda torch: torch.set_flush_denormal(True),
    "mkldnn": lambda torch: setattr(torch.backends.mkldnn, "enabled", False),
    "matmul_precision": lambda torch: torch.set_float32_matmul_precision("medium"),
    "default_device": lambda torch: torch.set_default_device("meta"),
    "no_grad": lambda torch: torch.set_grad_enabled(False),
    "seed": lambda torch: torch.manual_seed(5),
}


@contextmanager
def restored() -> Iterator[Any]:
    """PyTorch as this test found it, for the tests that follow."""
    torch = pytest.importorskip("torch")
    from lra.backends.torch.switches import pinned

    with pinned():
        yield torch
        torch.set_default_device(None)


@pytest.fixture(scope="module")
def torch_curve() -> np.ndarray:
    pytest.importorskip("torch")
    return curve("torch")


@pytest.mark.parametrize("name", TORCH_SWITCHES)
def test_torch_switches_change_no_number_and_are_put_back(name: str, torch_curve: np.ndarray) -> None:
    with restored() as torch:
        TORCH_SWITCHES[name](torch)
        before = state_of(torch)
        np.testing.assert_array_equal(curve("torch"), torch_curve)
        assert state_of(torch) == before
        with pytest.raises(ZeroDivisionError), backends.pinned("torch"):
            raise ZeroDivisionError
        assert state_of(torch) == before


def state_of(torch: Any) -> dict[str, Any]:
    from lra.backends.torch.switches import switches

    random = torch.random.get_rng_state().numpy().tobytes()
    return switches() | {"grad": torch.is_grad_enabled(), "random": random}


JAX_SWITCHES = {
    "enable_x64": True,
    "default_prng_impl": "rbg",
    "threefry_partitionable": False,
    "default_matmul_precision": "bfloat16",
    "numpy_dtype_promotion": "strict",
}


@pytest.fixture(scope="module")
def jax_curve() -> np.ndarray:
    pytest.importorskip("jax")
    return curve("jax")


@pytest.mark.parametrize("name", JAX_SWITCHES)
def test_jax_switches_change_no_number_and_are_put_back(name: str, jax_curve: np.ndarray) -> None:
    jax = pytest.importorskip("jax")
    before = getattr(jax.config, f"jax_{name}")
    jax.config.update(f"jax_{name}", JAX_SWITCHES[name])
    try:
        np.testing.assert_array_equal(curve("jax"), jax_curve)
        assert getattr(jax.config, f"jax_{name}") == JAX_SWITCHES[name]
        with pytest.raises(ZeroDivisionError), backends.pinned("jax"):
            raise ZeroDivisionError
        assert getattr(jax.config, f"jax_{name}") == JAX_SWITCHES[name]
    finally:
        jax.config.update(f"jax_{name}", before)


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_a_backend_tells_how_its_switches_stand(name: str) -> None:
    pytest.importorskip(name)
    with backends.pinned(name):
        told = backends.get(name, [PLAN], "cpu").environment()["switches"]
    expected = {"torch": ("default_dtype", "torch.float32"), "jax": ("enable_x64", False)}[name]
    assert expected in told.items()
