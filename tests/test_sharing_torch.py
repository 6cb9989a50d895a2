"""Shares of a batch, and parts of it, learn in PyTorch what the whole batch does."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import WHOLE
from lra.model.sharing import Sharing, shares
from lra.model.weights import Weights, initial_weights, within
from tests.small import MODEL, blueprint
from tests.test_sharing import feed

torch = pytest.importorskip("torch")

from lra.backends.torch.backend import TorchBackend  # noqa: E402 - PyTorch may be missing
from lra.backends.torch.ranks import Ranks  # noqa: E402
from lra.backends.torch.threads import Threads  # noqa: E402

DROPPING = replace(MODEL, dropout=0.1)


class Side(Ranks):
    """A rank of a backend in a thread, beside others: they meet where they add."""

    def __init__(self, count: int) -> None:
        self.count, self.sums = count, 0
        self._barrier = threading.Barrier(count, timeout=60)
        self._given: dict[int, list[Any]] = {}

    @property
    def cores(self) -> int:
        return 1

    def add(self, tensors: Sequence[Any]) -> None:
        self._given[threading.get_ident()] = [each.clone() for each in tensors]
        self._barrier.wait()
        for number, each in enumerate(tensors):
            each.copy_(sum(given[number] for given in self._given.values()))
        if self._barrier.wait() == 0:
            self.sums += 1


def trained(plan: Blueprint, given: Sequence[Chunk], **more: Any) -> tuple[np.ndarray, Weights]:
    """Mean losses of the steps, and of an evaluation at the end; and the snapshot."""
    backend = TorchBackend(plan, torch.device("cpu"), **more)
    state, losses = backend.start([initial_weights(plan)]), []
    for chunk in given:
        state, [sums] = backend.train_steps(state, [chunk])
        losses.append(sums.loss / sums.count)
    [scored] = backend.evaluate(state, given[0])
    assert (scored.count == 24).all()
    return np.concatenate([*losses, scored.loss / scored.count]), backend.snapshots(state)[0]


def require_same(found: tuple[np.ndarray, Weights], expected: tuple[np.ndarray, Weights]) -> None:
    """Losses within 1e-5. And moments: Adam would take the same steps if all gradients were twice as large."""
    np.testing.assert_allclose(found[0], expected[0], rtol=0, atol=1e-5)
    for kind in ("adam.mu/", "adam.nu/"):
        ours, theirs = (
            np.concatenate([a.ravel() for a in within(each[1], kind).values()]) for each in (found, expected)
        )
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_shares_learn_what_the_whole_batch_does() -> None:
    plan, given, ranks = blueprint("primal", DROPPING), feed()[:1], Side(2)
    alone = trained(plan, given)
    parts = zip(*(shares(chunk, 2) for chunk in given), strict=True)
    with ThreadPoolExecutor(2) as pool:
        each = list(pool.map(lambda own: trained(plan, own, sharing=Sharing(2), ranks=ranks), parts))
    assert ranks.sums == 5 + 1, "one sum a step"
    for losses, state in each:
        np.testing.assert_array_equal(losses, each[0][0])
        assert all(np.array_equal(array, each[0][1][name]) for name, array in state.items()), "ranks are in step"
    require_same(each[0], alone)
    assert len(set(alone[0][:5])) == 5  # and primal has a penalty


def test_parts_one_after_the_other_are_the_batch() -> None:
    plan = blueprint("elfatt", DROPPING)
    backend = TorchBackend(plan, torch.device("cpu"), sharing=Sharing(1, 3))
    grouping = backend.grouping
    assert grouping.parts == 3
    cut = feed(grouping)[:1]
    assert cut[0].size_of.shape[1] % 3 == 0
    require_same(trained(plan, cut, sharing=Sharing(1, 3)), trained(plan, feed(WHOLE)[:1]))


def test_a_part_begins_when_the_one_before_it_has_ended() -> None:
    at_work, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02)
        with lock:
            at_work -= 1
        return number

    assert Threads(4, turns=3).map(work, range(6)) == list(range(6))
    assert most == 2
    assert Threads(4, turns=4).map(work, range(3)) == [0, 1, 2]
    assert Threads(1, turns=2).map(work, range(5)) == list(range(5))
