"""BigBird's random blocks: how many, which, how often; and that only the true length decides."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest

DRAWS = 4000


@pytest.fixture(params=["torch", "jax"])
def impl(request: pytest.FixtureRequest) -> ModuleType:
    pytest.importorskip(request.param)
    return pytest.importorskip(f"attention_impls.bigbird.{request.param}_impl")


def choose(impl: ModuleType, uniform: np.ndarray, blocks: int) -> np.ndarray:
    """The choices (draws, rows, r) of every row, for examples of `blocks` blocks; 0 stands for none."""
    if impl.__name__.endswith("torch_impl"):
        import torch

        chosen = impl.random_blocks(
            torch.tensor(uniform), torch.arange(uniform.shape[1]), torch.full((len(uniform), 1), blocks - 1)
        )
        return np.stack([one.numpy() for one in chosen], 2)
    import jax.numpy as jnp

    chosen = impl.random_blocks(
        jnp.asarray(uniform), jnp.arange(uniform.shape[1]), jnp.full((len(uniform), 1), blocks - 1)
    )
    return np.stack([np.asarray(one) for one in chosen], 2)


@pytest.mark.parametrize("blocks", [3, 4, 5, 6, 8, 12])
def test_a_block_gets_as_many_new_blocks_as_there_are(impl: ModuleType, blocks: int) -> None:
    chosen = choose(impl, np.random.default_rng(0).random((50, 12, 3)), blocks)
    for i in range(1, blocks - 1):
        free = set(range(blocks)) - {0, i - 1, i, i + 1, blocks - 1}
        for row in chosen[:, i]:
            new = set(row) - {0}
            assert new <= free
            assert len(new) == (row > 0).sum() == min(3, len(free))


@pytest.mark.parametrize("i", [1, 5, 10])
def test_every_free_block_is_as_likely_as_any_other(impl: ModuleType, i: int) -> None:
    chosen = choose(impl, np.random.default_rng(1).random((DRAWS, 12, 3)), 12)[:, i]
    free = sorted(set(range(12)) - {0, i - 1, i, i + 1, 11})
    expected = DRAWS * 3 / len(free)
    counts = np.bincount(chosen.ravel(), minlength=12)
    assert np.abs(counts[free] - expected).max() < 4.5 * np.sqrt(expected)
    assert counts.sum() == counts[free].sum()


def test_a_number_rounded_up_to_one_is_still_a_choice(impl: ModuleType) -> None:
    chosen = choose(impl, np.ones((1, 12, 3)), 12)[0, 5]
    assert set(chosen) == {8, 9, 10}
