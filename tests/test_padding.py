"""Groups by length: less padding, the same batches, the same gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import LENGTH, blueprint, chunks, losses, split

from lra.model.batches import Chunk, gatherers, needs_of
from lra.model.padding import WHOLE, Grouping, Padding, plan_padding
from lra.model.weights import initial_weights

FOUR = Grouping(groups=4, sizes=4)
FREE = Grouping(groups=8, sizes=None)
TWO = Grouping(groups=4, sizes=2)  # JAX compiles a step for each size


def test_sizes_are_the_best_there_are() -> None:
    needs = np.array([8] * 50 + [16] * 30 + [64] * 19 + [128])
    for sizes, expected in (
        (1, (128,)),
        (2, (16, 128)),
        (3, (16, 64, 128)),
        (4, (8, 16, 64, 128)),
        (9, (8, 16, 64, 128)),
    ):
        assert plan_padding(needs, 128, 1, 1, Grouping(groups=1, sizes=sizes)).sizes == (
            expected if sizes > 1 else (128,)
        )


@given(
    needs=st.lists(st.integers(1, 300), min_size=4, max_size=40),
    batch=st.integers(1, 12),
    groups=st.integers(1, 8),
    sizes=st.sampled_from([1, 2, 4, None]),
)
def test_every_example_fits_whatever_the_lengths(needs: list[int], batch: int, groups: int, sizes: int | None) -> None:
    longest = max(needs)
    padding = plan_padding(np.array(needs), longest, batch, 1, Grouping(groups=groups, sizes=sizes))
    assert batch % padding.groups == 0
    assert padding.groups <= groups
    assert list(padding.sizes) == sorted(set(padding.sizes))
    assert padding.sizes[-1] == longest
    assert sizes is None or len(padding.sizes) <= sizes
    assert (np.array(padding.sizes)[padding.size_of(np.array(needs))] >= needs).all()


def test_groups_are_worth_their_overhead() -> None:
    needs = np.array([100, 900] * 20)
    many = plan_padding(needs, 900, 4, 1, Grouping(groups=4, sizes=4, overhead=1))
    assert many.groups == 4
    assert plan_padding(needs, 900, 4, 1, Grouping(groups=4, sizes=4, overhead=10_000)).groups == 1


def test_a_size_is_worth_its_compilation_in_a_long_run() -> None:
    needs = np.array([100, 900] * 20)
    grouping = Grouping(groups=4, sizes=4, compilation=100_000)
    assert plan_padding(needs, 900, 4, 10, grouping).sizes == (900,)
    assert plan_padding(needs, 900, 4, 1000, grouping).sizes == (128, 900)


def test_full_documents_are_one_group() -> None:
    assert plan_padding(np.array([9, 9]), 9, 4, 1, FOUR) == Padding(1, (9,))


@pytest.mark.parametrize("grouping", [FOUR, FREE], ids=["few sizes", "any size"])
def test_a_batch_keeps_its_examples_and_each_its_tokens(grouping: Grouping) -> None:
    data = split(examples=48)
    plain, cut = chunks(data), chunks(data, grouping=grouping)
    for one, other in zip(plain, cut, strict=True):
        assert other.lengths is not None
        for k, size_of in enumerate(other.size_of):
            assert contents(one, k) == contents(other, k)
            sizes = np.repeat(np.array(other.sizes)[size_of], len(other.labels[k]) // len(size_of))
            assert (other.lengths[k, :, 0] <= sizes).all()
            assert (other.lengths[k, :, 0] == np.sort(other.lengths[k, :, 0])).all()


def contents(chunk: Chunk, k: int) -> list[tuple[int, bytes]]:
    """Label and real tokens of every example of batch k, whatever their order."""
    assert chunk.lengths is not None
    documents = zip(chunk.labels[k], chunk.tokens[k, :, 0], chunk.lengths[k, :, 0], strict=True)
    return sorted((int(label), tokens[:length].tobytes()) for label, tokens, length in documents)


def test_groups_get_less_padding() -> None:
    data = split(examples=200)
    whole = gatherers({"train": data}, 8, 1, WHOLE)["train"]
    cut = gatherers({"train": data}, 8, 1, FOUR)["train"]
    rows = np.arange(200).reshape(25, 8)
    work = [
        np.array(chunk.sizes)[chunk.size_of].mean()
        for chunk in (g.training(rows, np.arange(25), np.zeros(25)) for g in (whole, cut))
    ]
    assert work[0] == needs_of(data).max()
    assert work[1] < 0.75 * work[0]


@pytest.mark.parametrize(("attn", "towers"), [("elfatt", 1), ("softmax", 2)])
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_curve_is_the_one_of_the_padded_run(backend: str, attn: str, towers: int) -> None:
    pytest.importorskip(backend)
    data, plan = split(towers, examples=48), blueprint(attn, length=LENGTH, towers=towers)
    weights = initial_weights(plan)
    plain, *_ = losses(backend, plan, weights, chunks(data))
    for grouping in (FOUR, FREE) if backend == "torch" else (TWO,):
        feed = chunks(data, grouping=grouping)
        assert feed[0].size_of.shape[1] > 1
        cut, *_ = losses(backend, plan, weights, feed)
        np.testing.assert_allclose(cut, plain, rtol=0, atol=1e-5)
