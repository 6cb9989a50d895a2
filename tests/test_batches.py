"""Epochs, chunks and gathering: which example is in which step."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lra.model.batches import NO_EXAMPLE, Epochs, Gatherer, ahead, chunk_bounds, training_chunks
from lra.model.padding import Padding
from lra.model.schedule import one_cycle
from tasks.base import Split


def ragged_split(lengths: list[int], towers: int = 1) -> Split:
    """Documents whose tokens are all their own number + 1."""
    tokens = np.concatenate([np.full(n, i + 1, np.uint8) for i, n in enumerate(lengths)])
    count = len(lengths) // towers
    return Split(
        tokens=tokens,
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        examples=np.arange(len(lengths)).reshape(count, towers),
        labels=(np.arange(count) % 3).astype(np.uint8),
    )


@given(count=st.integers(1, 50), batch=st.integers(1, 70), seed=st.integers(0, 5))
def test_each_example_once_an_epoch(count: int, batch: int, seed: int) -> None:
    epochs = Epochs(count, seed)
    steps = -(-3 * count // batch)
    seen = np.concatenate([epochs.at(step * batch, batch) for step in range(steps)])
    for epoch in range(3):
        assert sorted(seen[epoch * count : (epoch + 1) * count]) == list(range(count))


def test_epochs_differ_and_repeat_with_the_seed() -> None:
    first, second = Epochs(100, 1).at(0, 100), Epochs(100, 1).at(100, 100)
    assert (first != second).any()
    assert (first == Epochs(100, 1).at(0, 100)).all()
    assert (first != Epochs(100, 2).at(0, 100)).any()


@given(first=st.integers(0, 40), total=st.integers(1, 60), every=st.integers(1, 20), chunk=st.integers(1, 25))
def test_chunks_cover_every_step_and_never_cross_an_evaluation(first: int, total: int, every: int, chunk: int) -> None:
    bounds = list(chunk_bounds(first, total, every, chunk))
    steps = [step for a, b in bounds for step in range(a, b)]
    assert steps == list(range(first, total))
    if first % every == 0:
        assert all(a // every == (b - 1) // every and b - a <= chunk for a, b in bounds)


def test_a_resumed_run_cuts_the_same_chunks() -> None:
    whole = list(chunk_bounds(0, 103, 20, 8))
    assert whole[3:] == list(chunk_bounds(whole[3][0], 103, 20, 8))


def test_ragged_gathering_pads_with_zeros_and_says_the_lengths() -> None:
    split = ragged_split([3, 1, 5, 2], towers=2)
    chunk = Gatherer(split, Padding(1, (6,))).training(np.array([[1, 0]]), np.array([7]), np.array([0.5]))
    assert chunk.tokens.shape == (1, 2, 2, 6)
    assert chunk.lengths is not None
    assert chunk.lengths.tolist() == [[[5, 2], [3, 1]]]
    assert chunk.tokens[0, 0, 0].tolist() == [3, 3, 3, 3, 3, 0]
    assert chunk.tokens[0, 1, 1].tolist() == [2, 0, 0, 0, 0, 0]
    assert chunk.labels.tolist() == [[1, 0]]


def test_documents_are_there_to_their_last_token() -> None:
    lengths = [3, 7, 5, 7]
    docs = replace(ragged_split(lengths), tokens=np.arange(1, 1 + sum(lengths), dtype=np.uint8))
    gather = Gatherer(docs, Padding(groups=1, sizes=(5, 7)))
    trained = gather.training(np.arange(4)[None], np.zeros(1), np.zeros(1))
    for chunk in (trained, *gather.evaluation(1), *gather.evaluation(3)):
        assert chunk.lengths is not None
        for row, label, length in zip(chunk.tokens[0, :, 0], chunk.labels[0], chunk.lengths[0, :, 0], strict=True):
            assert label == NO_EXAMPLE or row[:length].tolist() in [docs.document(i).tolist() for i in range(4)]


def test_full_documents_carry_no_lengths() -> None:
    gather = Gatherer(ragged_split([4, 4, 4]), Padding(1, (4,)))
    chunk = gather.training(np.array([[2, 0]]), np.array([0]), np.array([0.0]))
    assert chunk.lengths is None
    assert chunk.tokens[0, :, 0, 0].tolist() == [3, 1]


def test_evaluation_scores_every_example_once() -> None:
    chunks = list(Gatherer(ragged_split([2] * 7), Padding(1, (2,))).evaluation(3))
    labels = np.concatenate([chunk.labels.ravel() for chunk in chunks])
    assert len(chunks) == 3
    assert labels.tolist() == [0, 1, 2, 0, 1, 2, 0, -1, -1]


def test_evaluation_goes_by_length_and_pads_no_further_than_it_must() -> None:
    chunks = list(Gatherer(ragged_split([7, 1, 3, 8, 2]), Padding(2, (2, 4, 8))).evaluation(2))
    assert [chunk.tokens.shape[-1] for chunk in chunks] == [2, 8, 8]
    assert [[chunk.sizes[at] for at in chunk.size_of[0]] for chunk in chunks] == [[2, 2], [4, 8], [8, 2]]
    assert [chunk.tokens[0, :, 0, 0].tolist() for chunk in chunks] == [[2, 5], [3, 1], [4, 1]]
    assert chunks[-1].lengths is not None
    assert chunks[-1].lengths.ravel().tolist() == [8, 0]
    assert chunks[-1].labels.tolist() == [[0, -1]]


def test_gathering_ahead_keeps_the_order_and_passes_errors_on() -> None:
    gather, epochs = Gatherer(ragged_split([2] * 10), Padding(1, (2,))), Epochs(10, 0)
    bounds = list(chunk_bounds(0, 9, 3, 3))
    make = lambda: training_chunks(gather, epochs, bounds, 4, lambda steps: steps * 1.0)  # noqa: E731
    plain, threaded = list(make()), list(ahead(make()))
    assert [chunk.steps.tolist() for chunk in threaded] == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert all((a.tokens == b.tokens).all() for a, b in zip(plain, threaded, strict=True))

    def failing():  # noqa: ANN202
        yield plain[0]
        time.sleep(0.01)
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        list(ahead(failing()))


@pytest.mark.parametrize(("warmup", "total"), [(10, 100), (1000, 5000), (8, 20)])
def test_schedule_equals_torch_one_cycle(warmup: int, total: int) -> None:
    torch = pytest.importorskip("torch")
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 1e-4, total, pct_start=warmup / total, anneal_strategy="linear", cycle_momentum=False
    )
    rates = []
    for _ in range(total):
        rates.append(theirs.get_last_lr()[0])
        optimiser.step()
        if len(rates) < total:
            theirs.step()
    ours = one_cycle(np.arange(total), peak=1e-4, warmup=warmup, total=total)
    np.testing.assert_allclose(ours, rates, rtol=1e-9)
