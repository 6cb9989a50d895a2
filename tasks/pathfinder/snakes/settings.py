"""The arguments of the snakes generator, for every size of the suite.

Values for 32 to 256 are those the Long Range Arena gives for its data, everything else the generator's own defaults
(drewlinsley/pathfinder, commit ab9c130). The set for 16 is this suite's own, for quick runs: two short curves in plain
pixels of three values (background, curve, disc), no distractors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tasks.base import TaskError

Level = Literal["easy", "intermediate", "hard"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What one image of the generator is made of; lengths are in pixels of the finished image.

    A curve is a row of paddles (short straight lines) with gaps of `margin` on both sides of a pivot. The lists of
    contrasts that the generator takes hold one value in every set in use, so they are numbers here.
    """

    size: int
    contour_length: int  # paddles of each of the two target curves
    distractor_length: int  # paddles of a distractor
    distractors: int  # how many distractors are attempted
    padding: int  # width of the frame that no mask may touch
    seed_distance: int  # between the first paddles' tails
    seed_border: int  # the first curve starts at least this far inside the window
    marker_radius: float
    continuity: float  # the larger, the straighter
    paddle_length: int
    paddle_thickness: float
    margins: tuple[int, ...]  # one is drawn for each image
    paddle_contrast: float
    snake_contrast: float
    antialias: int = 2
    paddle_retrials: int = 2
    distractor_retrials: int = 4
    balance_distance: bool = False  # only images whose two possible second discs are equally far from the first
    repair: bool = False  # deliberately wrong: takes the last paddles back where the original starts again
    every_direction: bool = False  # deliberately wrong: lacks the original's blind directions (see stamps.py)
    prompt_masks: bool = False  # deliberately wrong: a paddle blocks at once where the original waits one step

    def __post_init__(self) -> None:
        reach = self.paddle_length + max(self.margins, default=0)
        for wrong, rule in (
            (not self.margins or min(self.margins) < 1, "every margin must be at least 1"),
            (self.contour_length < 2, "contour_length must be at least 2"),
            (self.distractors > 0 and self.distractor_length < 1, "distractor_length must be at least 1"),
            (self.padding < 1, "padding must be at least 1"),
            (
                self.seed_border < max(self.seed_distance, reach),
                f"seed_border must be {reach} or seed_distance at least",
            ),
            (2 * self.seed_border >= self.size, f"size must be above twice the seed_border, {2 * self.seed_border}"),
            ((self.paddle_thickness * self.antialias) % 1 != 0, "paddle_thickness × antialias must be an integer"),
        ):
            if wrong:
                raise TaskError(f"Impossible images of {self.size}×{self.size}: {rule}; got {self}")


CONTOURS: dict[int, dict[Level, int]] = {
    16: {"easy": 2, "intermediate": 3, "hard": 4},
    **{size: {"easy": 6, "intermediate": 9, "hard": 14} for size in (32, 64, 128, 256)},
}

# How many paddles the distractors of an image have together, before division by their length.
_DISTRACTOR_PADDLES = {16: 0, 32: 20, 64: 22, 128: 35, 256: 30}

_SIZES: dict[int, Settings] = {
    16: Settings(
        size=16, contour_length=4, distractor_length=1, distractors=0, padding=1, seed_distance=4, seed_border=5,
        marker_radius=1.0, continuity=1.0, paddle_length=2, paddle_thickness=1.0, margins=(1,),
        paddle_contrast=0.5, snake_contrast=1.0, antialias=1,
    ),
    32: Settings(
        size=32, contour_length=14, distractor_length=4, distractors=5, padding=1, seed_distance=7, seed_border=14,
        marker_radius=1.5, continuity=1.0, paddle_length=2, paddle_thickness=0.5, margins=(1,),
        paddle_contrast=0.75, snake_contrast=2.0,
    ),
    64: Settings(
        size=64, contour_length=14, distractor_length=4, distractors=5, padding=1, seed_distance=12, seed_border=24,
        marker_radius=2.5, continuity=1.8, paddle_length=5, paddle_thickness=1.0, margins=(1,),
        paddle_contrast=1.0, snake_contrast=0.8,
    ),
    128: Settings(
        size=128, contour_length=14, distractor_length=4, distractors=8, padding=1, seed_distance=20, seed_border=40,
        marker_radius=3.0, continuity=1.8, paddle_length=5, paddle_thickness=1.5, margins=(2, 3),
        paddle_contrast=1.0, snake_contrast=0.9,
    ),
    256: Settings(
        size=256, contour_length=14, distractor_length=4, distractors=7, padding=22, seed_distance=27, seed_border=54,
        marker_radius=5.0, continuity=1.8, paddle_length=5, paddle_thickness=2.0, margins=(3,),
        paddle_contrast=1.0, snake_contrast=1.0,
    ),
}  # fmt: skip


def settings_for(size: int, level: Level = "hard", contour_length: int | None = None) -> Settings:
    """The set of one size, with the contour length of `level` or the one given.

    A distractor has a third of the contour's paddles (integer division), and their number is the size's total of
    distractor paddles divided by that length.
    """
    if size not in _SIZES:
        raise TaskError(f"Pathfinder has no size {size}; choose one of {', '.join(map(str, _SIZES))}")
    if level not in CONTOURS[size]:
        raise TaskError(f"Pathfinder has no level {level!r}; choose one of {', '.join(CONTOURS[size])}")
    contour = CONTOURS[size][level] if contour_length is None else contour_length
    length = max(contour // 3, 1)
    return replace(
        _SIZES[size], contour_length=contour, distractor_length=length, distractors=_DISTRACTOR_PADDLES[size] // length
    )
