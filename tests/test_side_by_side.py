"""A batch's groups computed side by side give what they give one after the other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from small import MODEL, blueprint, chunks, split

from lra.model.padding import Grouping, Padding, plan_padding
from lra.model.weights import initial_weights

DROPPING = replace(MODEL, dropout=0.1)
GROUPED = Grouping(groups=4, sizes=2)


def test_full_documents_are_cut_where_groups_run_side_by_side() -> None:
    needs = np.full(100, 64)
    assert plan_padding(needs, 64, 8, 1, Grouping(groups=8, sizes=None, overhead=10, parallel=4)) == Padding(4, (64,))
    assert plan_padding(needs, 64, 8, 1, Grouping(groups=8, sizes=None, overhead=500, parallel=4)).groups == 1


def test_threads_change_no_bit_and_leave_the_callers_number_alone() -> None:
    torch = pytest.importorskip("torch")
    from lra.backends.torch.backend import TorchBackend

    plan, feed = blueprint("elfatt", DROPPING), chunks(split(examples=48), grouping=GROUPED)
    found, before = [], torch.get_num_threads()
    for count in (1, 3):
        torch.set_num_threads(count)
        try:
            backend = TorchBackend(plan, torch.device("cpu"))
            state = backend.start([initial_weights(plan)])
            losses = [backend.train_steps(state, [chunk])[1][0].loss for chunk in feed]
            losses.append(backend.evaluate(state, feed[0])[0].loss)
            assert torch.get_num_threads() == count
        finally:
            torch.set_num_threads(before)
        found.append((backend.weights(state)[0], losses))
    (weights, losses), (same, equal) = found
    assert all(np.array_equal(weights[name], same[name]) for name in weights)
    np.testing.assert_array_equal(losses, equal)


def test_a_thread_that_fails_tells_the_caller() -> None:
    pytest.importorskip("torch")
    from lra.backends.torch.threads import Threads

    assert Threads(3).map(lambda number: number * 2, range(7)) == [0, 2, 4, 6, 8, 10, 12]
    with pytest.raises(ZeroDivisionError):
        Threads(2).map(lambda number: 1 // number, [1, 0, 2])


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(0,), (0, 1)], ids=str)
def test_one_program_a_chunk_is_one_program_a_group(seeds: tuple[int, ...]) -> None:
    jax = pytest.importorskip("jax")
    from lra.backends.jax.backend import JaxBackend

    plans = [replace(blueprint("elfatt", DROPPING), seed=seed) for seed in seeds]
    feed, found = chunks(split(examples=48), grouping=GROUPED), []
    for scanned in (True, False):
        backend = JaxBackend(plans, jax.devices("cpu")[0], scanned=scanned)
        state = backend.start([initial_weights(plan) for plan in plans])
        for chunk in feed:
            state, sums = backend.train_steps(state, [chunk] * len(seeds))
            found.append([own.loss for own in sums])
    np.testing.assert_allclose(found[: len(feed)], found[len(feed) :], rtol=1e-5)
