"""Whole images: a pair of curves, distractors, two discs, bytes.

Image i of a split depends only on the settings, the seed, the split's name and i. So any number of processes may make
any part of the split.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tasks.base import SPLITS, TaskError
from tasks.pathfinder.snakes.curves import COLUMNS, sample
from tasks.pathfinder.snakes.drawing import draw
from tasks.pathfinder.snakes.settings import Settings
from tasks.pathfinder.snakes.stamps import tables

# An image that needs more attempts than this is impossible: 64×64 hard, the hardest set, needs 4,500 on average.
PATIENCE = 2_000_000


@dataclass(frozen=True, kw_only=True)
class DrawnImages:
    """Images of one split in order, and what the generator knows about them."""

    images: np.ndarray  # (n, size, size) uint8
    labels: np.ndarray  # (n,) uint8, 1 where one curve joins both discs
    markers: np.ndarray  # (n, 4) int16: y and x of the disc at a tail, then of the disc at a head
    restarts: np.ndarray  # (n,) int64: pairs of curves thrown away
    distractors: np.ndarray  # (n,) int64: distractors placed


def image_states(seed: int, split: str, first: int, count: int) -> np.ndarray:
    """(count, 5) uint64: four words of random state and one to spare for each image."""
    stream = SPLITS.index(split)
    numbers = range(first, first + count)
    states = [np.random.SeedSequence([seed, stream, i]).generate_state(5, np.uint64) for i in numbers]
    return np.array(states, np.uint64).reshape(count, 5)


def margin_of(settings: Settings, states: np.ndarray) -> np.ndarray:
    """The margin of each image, drawn with the word to spare."""
    return np.array(settings.margins)[states[:, 4] % np.uint64(len(settings.margins))]


def generate(
    settings: Settings, seed: int, split: str, first: int, count: int, *, patience: int = PATIENCE
) -> DrawnImages:
    """Images first .. first + count - 1 of a split; TaskError where one needs more than `patience` restarts."""
    if split not in SPLITS:
        raise TaskError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}")
    states = image_states(seed, split, first, count)
    images = np.zeros((count, settings.size, settings.size), np.uint8)
    facts = np.zeros((count, 4), np.int64)
    markers = np.zeros((count, 4), np.int16)
    margins = margin_of(settings, states)
    for margin in set(settings.margins):
        rows = np.flatnonzero(margins == margin)
        images[rows], facts[rows], markers[rows] = _same_margin(settings, margin, states[rows, :4], patience)
    return DrawnImages(
        images=images,
        labels=facts[:, 1].astype(np.uint8),
        markers=markers,
        restarts=facts[:, 2],
        distractors=facts[:, 3],
    )


def _same_margin(
    settings: Settings, margin: int, states: np.ndarray, patience: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Images, facts (see `sample`) and markers."""
    s, t, count = settings, tables(settings, margin), len(states)
    targets = np.zeros((count, 2, s.contour_length, COLUMNS), np.int64)
    distractors = np.zeros((count, s.distractors, s.distractor_length, COLUMNS), np.int64)
    facts = np.zeros((count, 4), np.int64)
    if not sample(
        t, states, s.paddle_retrials, s.distractor_retrials, s.balance_distance, s.repair, s.prompt_masks, patience,
        targets, distractors, facts,
    ):  # fmt: skip
        raise TaskError(
            f"No two curves of {s.contour_length} paddles found for {s.size}×{s.size} in {patience:,} attempts; "
            "ask for shorter ones"
        )
    each, origin = np.arange(count), facts[:, 0]
    terminal = np.where(facts[:, 1] == 1, origin, 1 - origin)
    markers = np.concatenate([targets[each, origin, 0, :2], targets[each, terminal, -1, :2]], axis=1)
    images = np.zeros((count, s.size, s.size), np.uint8)
    draw(t, targets, distractors, facts[:, 3], markers, images)
    return images, facts, markers
