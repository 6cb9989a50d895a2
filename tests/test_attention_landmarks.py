"""What mechanisms with landmarks share: segment means, the iterative inverse, the wide convolution."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import attention_impls
from attention_impls.base import Dims

BACKENDS = ("torch", "jax")


def shared(backend: str, module: str, name: str) -> Callable[..., np.ndarray]:
    """A shared operation, from NumPy arrays to one."""
    pytest.importorskip(backend)
    function = getattr(import_module(f"attention_impls.ops.{module}_{backend}"), name)

    def call(*given: Any) -> np.ndarray:
        if backend == "torch":
            import torch

            return function(*(torch.tensor(x) if isinstance(x, np.ndarray) else x for x in given)).numpy()
        import jax
        import jax.numpy as jnp

        with jax.enable_x64():
            return np.asarray(function(*(jnp.asarray(x) if isinstance(x, np.ndarray) else x for x in given)))

    return call


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lengths", [None, (16384, 10007)])
def test_segment_means_keep_float32_precise_at_16384_tokens(backend: str, lengths: tuple[int, ...] | None) -> None:
    x = 100 + np.random.default_rng(0).normal(size=(2, 16384, 1, 2)).astype(np.float32)
    given = None if lengths is None else np.array(lengths, np.int32)
    found = shared(backend, "landmarks", "segment_means")(x, given, 100)
    for i, length in enumerate(lengths or (16384, 16384)):
        segments = [x[i, j * length // 100 : (j + 1) * length // 100].astype(float).mean(0) for j in range(100)]
        np.testing.assert_allclose(found[i], segments, rtol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_iterative_inverse_is_the_pseudo_inverse_of_each_matrix(backend: str) -> None:
    rng = np.random.default_rng(0)
    matrix = rng.uniform(size=(2, 3, 8, 8)) + 4 * np.eye(8)
    matrix[0, 1] *= 1e-3  # a start common to the batch would not have converged for this one
    matrix[1, 2, 5:] = matrix[1, 2, :, 5:] = 0
    matrix[1, 0] = 0
    start = shared(backend, "landmarks", "over_norms")(matrix)
    found = shared(backend, "landmarks", "iterative_inverse")(matrix, start, 12)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(found[index], np.linalg.pinv(matrix[index]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("tokens", "kernel"), [(1, 5), (64, 35), (131, 35), (70, 201)])
def test_the_banded_product_is_the_convolution(backend: str, tokens: int, kernel: int) -> None:
    rng = np.random.default_rng(0)
    v, weight = rng.normal(size=(1, tokens, 2, 3)), rng.normal(size=(2, kernel))
    found = shared(backend, "token_conv", "token_conv")(v, weight)
    for h, feature in np.ndindex(2, 3):
        expected = np.convolve(v[0, :, h, feature], weight[h, ::-1])[kernel // 2 :][:tokens]
        np.testing.assert_allclose(found[0, :, h, feature], expected, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("nystrom", {"conv_kernel": 4}, "conv_kernel is 4, expected an odd number, or 0"),
        ("longformer", {"window": 5}, "window is 5, expected an even number"),
    ],
)
def test_what_a_range_cannot_say_is_refused(name: str, options: dict[str, int], message: str) -> None:
    card = attention_impls.load(name).card
    with pytest.raises(ValueError, match=message):
        card.check(card.options(**options), Dims(heads=2, head_dim=8, width=16, max_length=64))
