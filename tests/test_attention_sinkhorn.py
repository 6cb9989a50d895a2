"""Sinkhorn's sorting matrix: doubly stochastic over the blocks that exist, a permutation where it is cold."""

from __future__ import annotations

import numpy as np
import pytest

from attention_impls.sinkhorn import Options

COUNTS = (5, 3, 1, 0)
HEADS, SIZE, FEATURES, BLOCKS = 2, 4, 8, 5


def matrix(backend: str, options: Options, seed: int = 0) -> np.ndarray:
    """The sorting matrices (B, H, n, n) of random keys, for examples of COUNTS blocks."""
    module = pytest.importorskip(f"attention_impls.sinkhorn.{backend}_impl")
    rng = np.random.default_rng(seed)
    exists = np.arange(BLOCKS) < np.array(COUNTS)[:, None]
    keys = rng.normal(size=(len(COUNTS), BLOCKS, SIZE, HEADS, FEATURES)) * exists[:, :, None, None, None]
    weight = rng.uniform(-1, 1, (HEADS, FEATURES, BLOCKS + 2)) / np.sqrt(FEATURES)
    if backend == "torch":
        import torch

        return module.sorting_matrix(*map(torch.tensor, (keys, weight, exists)), options).numpy()
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(True):
        return np.asarray(module.sorting_matrix(*map(jnp.asarray, (keys, weight, exists)), options))


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_rows_and_columns_sum_to_one(backend: str) -> None:
    order = matrix(backend, Options(iterations=200))
    for i, count in enumerate(COUNTS):
        np.testing.assert_allclose(order[i, :, :count].sum(2), 1, atol=1e-6)
        np.testing.assert_allclose(order[i, :, :, :count].sum(1), 1, atol=1e-6)
        assert not order[i, :, count:].any()
        assert not order[i, :, :, count:].any()


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_last_step_normalises_the_columns(backend: str) -> None:
    order = matrix(backend, Options(iterations=1))
    np.testing.assert_allclose(order[0].sum(1), 1, atol=1e-12)
    assert np.abs(order[0].sum(2) - 1).max() > 0.05


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_low_temperature_sorts_by_permutation(backend: str) -> None:
    order = matrix(backend, Options(iterations=200, temperature=0.01))
    for i, count in enumerate(COUNTS[:2]):
        assert order[i, :, :count, :count].max(2).min() > 0.95
        for head in order[i]:
            assert sorted(head[:count].argmax(1)) == list(range(count))
