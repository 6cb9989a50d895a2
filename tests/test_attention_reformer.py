"""Reformer's buckets: how many there are, and that close queries share them."""

from __future__ import annotations

import doctest
from types import ModuleType

import numpy as np
import pytest
from attention_cases import Case, draw, output

from attention_impls.reformer import Options, buckets, reference
from attention_impls.reformer.buckets import columns, factors


@pytest.mark.parametrize(
    ("length", "buckets"),
    [(0, (2,)), (63, (2,)), (128, (4,)), (191, (4,)), (4096, (128,)), (8192, (16, 16)), (16384, (32, 16))],
)
def test_about_two_buckets_a_chunk(length: int, buckets: tuple[int, ...]) -> None:
    assert factors(length, 64) == buckets


def test_the_rotations_serve_every_shorter_sequence() -> None:
    assert columns(1000, 64) == (8,)
    assert columns(16384, 64) == (64, 8)  # 128 buckets by one hash up to 8,191 tokens


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_tokens_of_one_direction_see_one_another(backend: str) -> None:
    case = Case("reformer", Options(chunk_size=16, rounds=1))
    inputs = draw(case, 128, None, batch=1)
    rng = np.random.default_rng(3)
    group = rng.permutation(128) % 8
    # So short that what is seen is averaged, and v tells the direction.
    inputs.arrays["q"][0] = 1e-4 * rng.normal(size=(8, 1, 8))[group]
    inputs.arrays["v"][0] = np.eye(8)[group][:, None]
    own_share = output(case, backend, inputs)[0][np.arange(128), :, group].mean()
    assert own_share > 0.4, "an eighth is what chance gives"


@pytest.mark.parametrize("module", [buckets, reference])
def test_the_examples_of_eight_tokens_are_right(module: ModuleType) -> None:
    results = doctest.testmod(module)
    assert results.attempted >= 3
    assert results.failed == 0
