"""Pathfinder: the sampler, the options, what guessing scores."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tasks import load, store
from tasks.base import SPLITS, ExampleBlock, Source, Split, TaskError
from tasks.pathfinder import Pathfinder, marker_distances, settings
from tasks.pathfinder.snakes.sampler import generate, image_states, margin_of
from tasks.pathfinder.snakes.settings import Settings, settings_for
from tests.snakes_plain import Plain

TASK = load("pathfinder")
SMALL = Pathfinder(size=16, level="easy", train=900, validation=30, test=600)


def built(options: Pathfinder, processes: int = 1) -> dict[str, list[ExampleBlock]]:
    blocks: dict[str, list[ExampleBlock]] = {split: [] for split in SPLITS}
    for block in TASK.build(options, Source(processes=processes)):
        blocks[block.split].append(block)
    return blocks


def joined(options: Pathfinder) -> dict[str, Split]:
    splits = {}
    for name, blocks in built(options).items():
        count = sum(len(block.labels) for block in blocks)
        splits[name] = Split(
            tokens=np.concatenate([block.tokens for block in blocks]),
            offsets=np.arange(count + 1, dtype=np.int64) * options.size**2,
            examples=np.arange(count, dtype=np.int64)[:, None],
            labels=np.concatenate([block.labels for block in blocks]),
            extras={"markers": np.concatenate([block.extras["markers"] for block in blocks])},
        )
    return splits


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """numba's compiling, which takes longer than any of these tests."""
    generate(settings_for(32), 5, "test", 0, 1)


@pytest.mark.parametrize(
    ("chosen", "count"),
    [
        (settings_for(16), 4),
        (settings_for(32), 2),
        (settings_for(32, "easy"), 4),
        (settings_for(64, "easy"), 1),
        (settings_for(128, "easy"), 2),
        (settings_for(256, "easy"), 1),
    ],
    ids=lambda value: f"{value.size}-{value.contour_length}" if isinstance(value, Settings) else "",
)
def test_images_equal_the_plain_generators(chosen: Settings, count: int) -> None:
    made = generate(chosen, 5, "test", 7, count)
    words = image_states(5, "test", 7, count)
    for i, margin in enumerate(margin_of(chosen, words)):
        image, label, markers = Plain(chosen, int(margin), words[i, :4]).image()
        np.testing.assert_array_equal(made.images[i], image)
        assert made.labels[i] == label
        assert made.markers[i].tolist() == markers


def test_an_image_depends_on_its_number_alone() -> None:
    whole = generate(settings_for(32), 3, "train", 0, 12)
    part = generate(settings_for(32), 3, "train", 7, 2)
    np.testing.assert_array_equal(whole.images[7:9], part.images)
    assert not np.array_equal(generate(settings_for(32), 4, "train", 7, 2).images, part.images)
    assert not np.array_equal(generate(settings_for(32), 3, "test", 7, 2).images, part.images)


def test_blocks_do_not_depend_on_processes() -> None:
    one, three = built(SMALL), built(SMALL, processes=3)
    for split in SPLITS:
        assert sum(len(block.labels) for block in one[split]) == getattr(SMALL, split)
        for a, b in itertools.zip_longest(one[split], three[split]):
            np.testing.assert_array_equal(a.tokens, b.tokens)
            np.testing.assert_array_equal(a.labels, b.labels)
            np.testing.assert_array_equal(a.extras["markers"], b.extras["markers"])


def test_the_store_accepts_the_task(tmp_path: Path) -> None:
    prepared = store.prepare(TASK, SMALL, Source(processes=2))
    assert store.verify(TASK, SMALL) is not None
    assert prepared.splits["test"].document(5).shape == (256,)
    TASK.picture(SMALL, prepared.splits, tmp_path / "examples.png")
    with Image.open(tmp_path / "examples.png") as picture:
        assert min(picture.size) > 500


def test_markers_are_where_the_discs_are() -> None:
    made = generate(settings_for(32), 0, "train", 0, 50)
    for image, (y0, x0, y1, x1) in zip(made.images, made.markers, strict=True):
        assert min(image[y0, x0], image[y1, x1]) > 150
    tails_inside = np.abs(made.markers[:, :2] - 15.5).max(axis=1)
    assert tails_inside.max() <= 9  # the first tail is in the middle, the second seven pixels away


def test_balanced_distances_tell_nothing() -> None:
    options = Pathfinder(size=16, level="intermediate", balance_distance=True, train=6000, validation=1, test=2000)
    assert TASK.references(options, joined(options))["marker distance"] < 0.55


def test_unbalanced_distances_tell_something() -> None:
    options = Pathfinder(size=16, level="intermediate", train=6000, validation=1, test=2000)
    found = TASK.references(options, joined(options))
    assert found["marker distance"] > 0.55
    assert found["chance"] == 0.5
    assert abs(found["majority"] - 0.5) < 5 * 0.5 / math.sqrt(2000)


def test_references_are_what_they_say() -> None:
    markers = np.array([[0, 0, 0, 3], [0, 0, 3, 0], [0, 0, 4, 3], [0, 0, 9, 9]], np.int16)
    assert marker_distances(markers).tolist() == [3, 3, 5, 13]
    labels = np.array([1, 1, 0, 0], np.uint8)
    parts = {"tokens": np.zeros(4 * 256, np.uint8), "offsets": np.arange(5) * 256, "examples": np.arange(4)[:, None]}
    train = Split(**parts, labels=labels, extras={"markers": markers})
    test = Split(**parts, labels=1 - labels, extras={"markers": markers})
    found = TASK.references(Pathfinder(size=16), {"train": train, "test": test})
    assert found == {"chance": 0.5, "majority": 0.5, "marker distance": 0.0}
    bare = Split(**parts, labels=labels)
    assert "marker distance" not in TASK.references(Pathfinder(size=16), {"train": bare, "test": bare})


def test_numbers_of_the_published_table() -> None:
    arguments = {
        size: (s.contour_length, s.distractor_length, s.distractors, s.seed_distance, s.marker_radius, s.margins)
        for size in (32, 64, 128, 256)
        for s in [settings_for(size)]
    }
    assert arguments == {
        32: (14, 4, 5, 7, 1.5, (1,)),
        64: (14, 4, 5, 12, 2.5, (1,)),
        128: (14, 4, 8, 20, 3.0, (2, 3)),
        256: (14, 4, 7, 27, 5.0, (3,)),
    }
    assert [settings_for(256, level).distractors for level in ("easy", "intermediate", "hard")] == [15, 10, 7]


def test_descriptions() -> None:
    assert TASK.describe(Pathfinder()) == "32×32, hard (contour 14)"
    assert TASK.describe(Pathfinder(size=16, contour_length=3)) == "16×16, contour 3"
    assert TASK.shape(Pathfinder(size=128)).max_length == 16384
    assert TASK.counts(SMALL) == {"train": 900, "validation": 30, "test": 600}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contour_length": 1}, "at least 2"),
        ({"source": "official", "size": 16}, "released Pathfinder has size"),
        ({"source": "official", "balance_distance": True}, "released Pathfinder has size"),
    ],
)
def test_impossible_options_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(TaskError, match=message) as caught:
        TASK.check(Pathfinder(**change))  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_curves_that_never_fit_are_given_up() -> None:
    with pytest.raises(TaskError, match="ask for shorter ones"):
        generate(settings_for(16, contour_length=14), 0, "train", 0, 1, patience=10_000)


def test_settings_carry_the_balance() -> None:
    assert settings(Pathfinder(balance_distance=True)) == replace(settings_for(32), balance_distance=True)
