"""A diagonal recurrence that is the same for all tokens is a convolution: mechanisms give the same through either."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from attention_cases import EXACT, Case, Inputs, cotangent_for, dims_for, draw, error, gradients, jax_call

import attention_impls
from attention_impls import s4d

BACKENDS = ("torch", "jax")


def by_scan(backend: str) -> Any:
    """S4D's convolution, given the arrays from which its kernels are made: both recurrences, run."""
    xp = import_module("torch" if backend == "torch" else "jax.numpy")
    linear_scan = import_module(f"attention_impls.ops.scan_{backend}").linear_scan

    def conv(x: Any, params: dict[str, Any], _: Any) -> Any:
        states = -xp.exp(params[s4d.DECAY]) + 1j * params[s4d.FREQUENCY]
        decay = xp.exp(xp.exp(params[s4d.STEP])[:, None] * states)
        inputs = (decay - 1) / states * (params[s4d.B_REAL] + 1j * params[s4d.B_IMAG]) * x[..., None]
        after, before = params[s4d.C_REAL] + 1j * params[s4d.C_IMAG]
        past = linear_scan(decay[None, None], inputs, reverse=False)
        coming = linear_scan(decay[None, None], inputs, reverse=True)
        here = 2 * (after * past).sum(-1).real
        later = 2 * (before * coming).sum(-1).real  # from the next token on
        return here + xp.concatenate([later[:, 1:], xp.zeros_like(later[:, :1])], 1)

    return conv


def by_conv(backend: str) -> Any:
    """The recurrence of LRU and S5 as a convolution of what drives each state with the powers of its decay."""
    xp = import_module("torch" if backend == "torch" else "jax.numpy")
    two_sided_conv = import_module(f"attention_impls.ops.fourier_{backend}").two_sided_conv

    def scan(decay: Any, inputs: Any, reverse: bool) -> Any:
        powers = decay[0, 0, :, None] ** xp.arange(inputs.shape[1])

        def conv(x: Any, kernel: Any) -> Any:
            return two_sided_conv(x, *((0 * kernel, kernel) if reverse else (kernel, 0 * kernel)), overlap=True)

        real = conv(inputs.real, powers.real) - conv(inputs.imag, powers.imag)
        return real + 1j * (conv(inputs.real, powers.imag) + conv(inputs.imag, powers.real))

    return scan


def patched(backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Put the other route in the place of a mechanism's own; what is returned tells that it was gone."""
    used: list[str] = []
    other = (by_scan if name == "s4d" else by_conv)(backend)

    def watched(*given: Any, **more: Any) -> Any:
        used.append(name)
        return other(*given, **more)

    if name == "s4d":
        module = import_module(f"attention_impls.s4d.{backend}_impl")
        monkeypatch.setattr(module, "_kernels", lambda params, tokens: (params, None))
        monkeypatch.setattr(module, "two_sided_conv", watched)
    else:
        monkeypatch.setattr(import_module(f"attention_impls.ops.diagonal_{backend}"), "linear_scan", watched)
    return used


def found(case: Case, backend: str, inputs: Inputs) -> dict[str, np.ndarray]:
    """Output and gradients in float64, of what stands in the modules now."""
    jax_call.cache_clear()
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs))
    jax_call.cache_clear()
    return {"out": out, **grads}


@pytest.mark.parametrize("name", ["s4d", "s5", "lru"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_scan_and_convolution_agree(backend: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(backend)
    case = Case(name, attention_impls.load(name).card.variants[0])
    inputs = draw(case, 48, (37, 0, 1, 20), dims=dims_for(48, heads=1, head_dim=4))
    own, used = found(case, backend, inputs), patched(backend, name, monkeypatch)
    other = found(case, backend, inputs)
    assert used
    for key, array in own.items():
        assert error(other[key], array) < EXACT, key
