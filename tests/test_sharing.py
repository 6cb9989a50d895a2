"""A batch that is shared: what each device takes, and what is refused."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lra.core.errors import UserError
from lra.model.batches import NO_EXAMPLE, Chunk, gatherers
from lra.model.padding import WHOLE, Grouping, plan_padding
from lra.model.sharing import Sharing, by_device, shares
from lra.training import snapshot
from lra.training.session import require_possible
from tests.small import TRAIN, chunks, place, smoke_run, split

PLAN = replace(TRAIN, batch_size=24, steps=50, evaluate_every=50, chunk=5, learning_rate=1e-4)
SHARED = Grouping(groups=4, sizes=2, devices=2)


def feed(grouping: Grouping = SHARED) -> list[Chunk]:
    """Fifty steps of ragged documents at the rate of `standard`."""
    return chunks(split(examples=48), PLAN, grouping=grouping)


@pytest.mark.parametrize("devices", [1, 2, 3, 6])
def test_every_row_is_taken_once_with_its_place_and_a_group_by_all_alike(devices: int) -> None:
    chunk = feed()[0]
    each = shares(chunk, devices)
    groups = chunk.size_of.shape[1]
    assert groups > 1
    for share in each:
        assert share.labels.shape[1] == 24 // devices
        assert share.size_of is chunk.size_of
        np.testing.assert_array_equal(share.examples, [24] * 5)
    for name in ("tokens", "lengths", "labels", "places"):
        whole, parts = getattr(chunk, name), [getattr(share, name) for share in each]
        cut = [part.reshape(5, groups, -1, *part.shape[2:]) for part in parts]
        np.testing.assert_array_equal(np.concatenate(cut, 2).reshape(whole.shape), whole)
        np.testing.assert_array_equal(np.concatenate(parts, 1), getattr(by_device(chunk, devices), name))


@pytest.mark.parametrize("examples", [1, 7, 23, 24, 25, 47])
def test_every_example_is_scored_once_on_any_number_of_devices(examples: int) -> None:
    splits = {"train": split(examples=48), "test": split(examples=examples)}
    gather = gatherers(splits, 24, 50, SHARED)["test"]
    for devices in (1, 2, 3):
        rows = [share.labels for chunk in gather.evaluation(24) for share in shares(chunk, devices)]
        assert sum((each != NO_EXAMPLE).sum() for each in rows) == examples


def test_groups_are_whole_parts_and_can_be_shared() -> None:
    needs, roomy = np.arange(1, 65), Grouping(groups=8, sizes=None)
    for devices, parts, grouping in itertools.product((1, 2, 3), (1, 2, 4), (roomy, WHOLE)):
        shared = grouping._replace(devices=devices, parts=parts)
        groups = plan_padding(needs, 64, 24, 1, shared).groups
        assert groups % parts == 0
        assert 24 % (groups * devices) == 0
    assert plan_padding(needs, 64, 24, 1, roomy._replace(parts=12)).groups == 12
    assert plan_padding(needs, 64, 24, 1, roomy._replace(devices=2, parts=2).whole).sizes == (64,)


@pytest.mark.parametrize(
    ("sharing", "said"),
    [
        (Sharing(3), "--devices is 3, expected a divisor of 8, the examples of a batch: 1, 2, 4, 8; or change"),
        (Sharing(0), "--devices is 0, expected a divisor of 8"),
        (Sharing(-2), "--devices is -2, expected a divisor of 8"),
        (Sharing(16), "--devices is 16, expected a divisor of 8"),
        (Sharing(1, 3), "--accumulate is 3, expected a divisor of 8, the examples of a batch: 1, 2, 4, 8; or"),
        (Sharing(2, 8), "--accumulate is 8, expected a divisor of 4, the examples of a batch on each of 2 devices: 1,"),
        (Sharing(1, 0), "--accumulate is 0, expected a divisor of 8"),
    ],
)
def test_what_does_not_divide_a_batch_is_refused(sharing: Sharing, said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        require_possible(smoke_run(), place(tmp_path, sharing=sharing))


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_more_devices_than_cores_are_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(name)
    from lra import backends

    backends.on_gpu(name, None)  # JAX may have opened its one CPU by now
    monkeypatch.setattr("tasks.limits.usable_cores", lambda: 2)
    with pytest.raises(UserError, match=r"--devices is 64, expected at most \d+: "):
        backends.require_devices(name, "cpu", 64)
    with pytest.raises(UserError, match="gpu"):
        backends.require_devices(name, "gpu", 2)
    backends.require_devices(name, "gpu", 1)  # asked elsewhere


def test_the_counts_of_devices_in_a_snapshot_are_numbers() -> None:
    assert not list(snapshot._impossible_devices([1, 2, 1]))
    for wrong in ([], [0], [True], ["2"], "2", None, {"a": 1}, [1.0]):
        assert list(snapshot._impossible_devices(wrong))
