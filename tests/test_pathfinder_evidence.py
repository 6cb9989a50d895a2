"""The 32×32 hard images against the original generator's: figures in seconds, the images themselves in minutes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.pathfinder.snakes.sampler import generate
from tasks.pathfinder.snakes.settings import settings_for
from tests.evidence.comparison import compare, disc_centres, holm, per_image, same, turning
from tests.evidence.pathfinder import OURS, against_figures, generators, judge, originals


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compiled code of the generator, which takes longer than any quick test here."""
    generate(settings_for(32), 1, "train", 0, 1)


def test_means_agree_with_the_originals_figures() -> None:
    # Seven figures; four standard errors are passed by chance once in 2,000 runs of the seven together.
    table = against_figures(generate(settings_for(32), 1, "train", 0, 1500))
    assert {name: z for name, (_, _, z) in table.items() if abs(z) > 4} == {}


@pytest.mark.parametrize("name", ["repairs instead of starting again", "curves may start in every direction"])
def test_wrong_generators_miss_the_figures(name: str) -> None:
    table = against_figures(generate(generators()[name], 1, "train", 0, 300))
    assert abs(table["restarts"][2]) > 4


def test_discs_are_found_where_the_generator_put_them() -> None:
    made = generate(settings_for(32), 0, "train", 0, 400)
    found = disc_centres(made.images)
    rows = np.arange(400)
    hits = [found[rows, made.markers[:, i], made.markers[:, i + 1]].mean() for i in (0, 2)]
    assert min(hits) > 0.8  # the rest have a brighter pixel within the disc or overlap
    assert found.sum() < 2.05 * 400


@pytest.mark.slow
def test_straighter_curves_turn_less() -> None:
    usual = turning(generate(settings_for(32), 1, "train", 0, 300).images)
    straighter = turning(generate(replace(settings_for(32), continuity=1.5), 1, "train", 0, 300).images)
    assert straighter.mean() < usual.mean()
    assert same(usual, straighter) < 1e-4


def test_images_agree_with_the_originals(raw: Path) -> None:
    images, labels = originals(raw)
    made = generate(settings_for(32), 1, "train", 0, 1200)
    p = compare(per_image(images, labels), per_image(made.images, made.labels))
    assert min(holm(p).values()) > 0.01


def test_holm_adjusts() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


@pytest.mark.slow
def test_only_the_wrong_generators_are_caught(raw: Path) -> None:
    verdicts = judge(raw)
    ours = verdicts.pop(OURS)
    assert ours.caught == []
    assert ours.told.interval[1] >= 0.5
    assert {name for name, verdict in verdicts.items() if not verdict.caught} == set()
