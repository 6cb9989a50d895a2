"""Everything of the generator that does not depend on chance, computed once: paddles, their masks, discs, turns.

A paddle is drawn at `antialias` times the size, brought to bytes and reduced with Pillow's Lanczos filter, exactly as
the original does for every paddle anew. There are few different ones: the first paddle of a curve has one of 360
directions, every other ends at one of a few pixels around its pivot. Positions are (y, x); the compiled sampler sees
pixels as flat offsets in a window with a frame of `frame` pixels around it, so that it never clips.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tasks.snakes.settings import Settings

SEED_DIRECTIONS = 360
# A paddle is refused where the sum of two masks reaches 1.8, that is 459 in bytes.
MASK_SUM = 459
# A pixel is free for a first paddle while its mask is at most 0.3, that is 76 in bytes.
FREE_MASK = 76


class Pixels(NamedTuple):
    """Lists of pixels, one list a direction: entries starts[d]:starts[d + 1] belong to direction d."""

    starts: np.ndarray
    offsets: np.ndarray  # flat, relative to the pixel the paddle starts from
    values: np.ndarray  # bytes as int64


class Tables(NamedTuple):
    """The tables for one margin. Directions 0..359 are first paddles, -180..179 degrees; 360 + c is candidate c."""

    size: int
    frame: int
    stride: int
    paddle: Pixels  # brightness
    mask: Pixels  # what the paddle will block
    limit: Pixels  # the mask already there from which on the paddle is refused
    core: Pixels  # where a first paddle's own mask is 255, for the search of free places
    usable: np.ndarray  # (360,) uint8: whether the search of free places works in that direction
    pivot_step: np.ndarray  # (directions, 2) float64: from one pivot to the next
    seed_head: np.ndarray  # (360, 2) float64: from a first paddle's tail to its head
    seed_pivot: np.ndarray  # (360, 2) float64: from the head back to the pivot behind the tail
    seed_area: np.ndarray  # (360, 4) y0, y1, x0, x1: where the first curve may start, ends excluded
    second_seed: np.ndarray  # (360, 2) float64: from the first tail to the second
    candidates: np.ndarray  # (c, 2) int64: the next head, relative to the pivot
    choices: np.ndarray  # (directions, c) candidates with a positive weight, -1 after the last
    weights: np.ndarray  # (directions, c) their continuity weights
    disc: np.ndarray  # flat offsets of the small disc that widens the mask
    free: np.ndarray  # (256,) float64: one minus a mask
    target: np.ndarray  # (256,) float64: brightness of a target's byte
    distractor: np.ndarray  # (256,) float64: brightness of a distractor's byte
    blank: np.ndarray  # the framed window's mask before the first paddle, flat uint8
    inside: np.ndarray  # 1 where the framed window is window
    edge: np.ndarray  # 1 on the outermost pixels of the window
    markers: np.ndarray  # (classes, classes, side, side) uint8: discs by their distance from the borders


def disc_offsets(radius: int) -> np.ndarray:
    """All (y, x) with y² + x² <= radius²."""
    grid = np.arange(-radius, radius + 1)
    inside = grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2
    return np.argwhere(inside) - radius


def step(direction: float, length: float) -> tuple[float, float]:
    """(dy, dx) of a move; the position moved to is the ceiling of start + move."""
    return float(length) * math.sin(direction), float(length) * math.cos(direction)


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """A byte image reduced with the Lanczos filter, which rounds to bytes after each of its two passes."""
    resized = Image.fromarray(image).resize((side, side), resample=Image.Resampling.LANCZOS)
    return np.asarray(resized).astype(np.int64)


def draw_paddle(settings: Settings, margin: int, direction: float) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and mask of one paddle, bytes on a square of side 2·radius + 1 with its start in the middle."""
    scale, length = settings.antialias, settings.paddle_length
    radius = length + math.ceil(settings.paddle_thickness) + margin
    centre = radius * scale
    dy, dx = step(direction, length * scale)
    canvas = Image.new("F", (2 * centre + 1, 2 * centre + 1), "black")
    end = (math.ceil(centre + dx), math.ceil(centre + dy))
    width = round(settings.paddle_thickness * scale)
    ImageDraw.Draw(canvas).line([(centre, centre), end], fill="white", width=width)
    line = np.asarray(canvas).astype(np.uint8)
    wide = margin * scale
    padded = np.pad(line, wide)
    side = 2 * centre + 1
    area = np.zeros_like(line)
    for y, x in disc_offsets(wide) + wide:
        np.maximum(area, padded[y : y + side, x : x + side], out=area)
    return _reduced(line, 2 * radius + 1), _reduced(area, 2 * radius + 1)


def candidate_heads(radius: int) -> np.ndarray:
    """Pixels (dy, dx) around a pivot where a paddle may end: a circle in steps of one pixel, truncated."""
    angles = np.arange(0, 360, 360.0 / (2 * radius * np.pi)) * np.pi / 180
    points = np.stack([np.floor(radius * np.sin(angles)), np.floor(radius * np.cos(angles))], axis=1)
    return np.unique(points.astype(np.int64), axis=0)


def _pixels(images: list[np.ndarray], stride: int, shift: int = 0) -> Pixels:
    radius = images[0].shape[0] // 2
    starts, offsets, values = [0], [], []
    for image in images:
        places = np.argwhere(image)
        offsets.append(((places - radius + shift) * (stride, 1)).sum(1))
        values.append(image[tuple(places.T)])
        starts.append(starts[-1] + len(places))
    return Pixels(np.array(starts), np.concatenate(offsets), np.concatenate(values))


def _continuity(settings: Settings, directions: np.ndarray, heads: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each direction the candidates it may turn to and their weights cos²(continuity · turn), zero past 90°."""
    away = np.abs(directions[SEED_DIRECTIONS:][None, :] - directions[:, None])
    turn = np.minimum(away, 2 * np.pi - away)
    weight = np.cos(np.minimum(turn * settings.continuity, 0.5 * np.pi)) ** 2
    choices = np.full((len(directions), len(heads)), -1, np.int64)
    weights = np.zeros((len(directions), len(heads)))
    for row, values in enumerate(weight):
        kept = np.flatnonzero(values > 1e-30)
        choices[row, : len(kept)], weights[row, : len(kept)] = kept, values[kept]
    return choices, weights


def _core(mask: np.ndarray, reach: int) -> np.ndarray:
    """The full part of a mask on the original's canvas of side 2·reach + 1, whose middle is one pixel off the tail."""
    offset = np.arange(len(mask)) - len(mask) // 2 + 1
    kept = np.abs(offset) <= reach
    return np.where((mask == 255) & kept[:, None] & kept[None, :], mask, 0)


def _usable(core: np.ndarray) -> bool:
    """Whether no corner of the window has the whole core outside.

    The original widens the mask with OpenCV, which gives such a corner the lowest number there is, and takes a
    negative number anywhere for a mask without free places. At 32×32 only 30 of the 360 directions are left.
    """
    y, x = np.argwhere(core).T - core.shape[0] // 2 + 1
    return all(((side_y * y <= 0) & (side_x * x <= 0)).any() for side_y in (-1, 1) for side_x in (-1, 1))


def _seed_area(settings: Settings, core: list[np.ndarray], usable: np.ndarray) -> np.ndarray:
    """Where a first tail keeps the core of its mask inside the central square; a square eroded stays a rectangle."""
    low = max(settings.seed_border, settings.padding)
    high = settings.size - low
    area = np.zeros((SEED_DIRECTIONS, 4), np.int64)
    for direction in np.flatnonzero(usable):
        y, x = np.argwhere(core[direction]).T - core[direction].shape[0] // 2 + 1
        area[direction] = low - y.min(), high - y.max(), low - x.min(), high - x.max()
    return area


def _markers(settings: Settings) -> np.ndarray:
    """Discs for every distance from the borders at which the reduction still sees the border."""
    scale = settings.antialias
    reach = math.ceil(settings.marker_radius) + 4
    side = min(2 * reach + 1, settings.size)
    places = np.arange(side * scale)
    out = np.zeros((side, side, side, side), np.uint8)
    for y in range(side):
        for x in range(side):
            square = (places[:, None] - y * scale) ** 2 + (places[None, :] - x * scale) ** 2
            disc = (square <= (settings.marker_radius * scale) ** 2).astype(np.uint8) * np.uint8(255)
            out[y, x] = _reduced(disc, side)
    return out


def _brightness(contrast: float) -> np.ndarray:
    return (np.arange(256) / 255 * contrast).astype(np.float32).astype(np.float64)


@lru_cache(maxsize=16)
def tables(settings: Settings, margin: int) -> Tables:
    """All tables for one margin."""
    length = settings.paddle_length
    frame = length + math.ceil(settings.paddle_thickness) + margin + 1
    stride = settings.size + 2 * frame
    heads = candidate_heads(length + margin)
    seeds = np.arange(-180, 180) * np.pi / 180
    directions = np.concatenate([seeds, np.arctan2(heads[:, 0], heads[:, 1])])
    # A first paddle is drawn forwards from its tail, every other backwards from its head.
    drawn = np.where(np.arange(len(directions)) < SEED_DIRECTIONS, directions, _flipped(directions))
    stamps = [draw_paddle(settings, margin, float(angle)) for angle in drawn]
    paddles, masks = [stamp[0] for stamp in stamps], [stamp[1] for stamp in stamps]
    core = [_core(mask, length + margin) for mask in masks[:SEED_DIRECTIONS]]
    usable = np.array([_usable(mask) for mask in core], np.uint8)
    limits = [np.where(mask > MASK_SUM - 256, MASK_SUM - mask, 0) for mask in masks]
    choices, weights = _continuity(settings, directions, heads)
    inside = np.zeros((stride, stride), np.uint8)
    inside[frame:-frame, frame:-frame] = 1
    edge = inside.copy()
    edge[frame + 1 : -frame - 1, frame + 1 : -frame - 1] = 0
    blank = inside * np.uint8(255)
    border = frame + settings.padding
    blank[border:-border, border:-border] = 0
    return Tables(
        size=settings.size,
        frame=frame,
        stride=stride,
        paddle=_pixels(paddles, stride),
        mask=_pixels(masks, stride),
        limit=_pixels(limits, stride),
        core=_pixels(core, stride, shift=1),
        usable=usable,
        pivot_step=np.array([step(float(angle), length + 2 * margin) for angle in directions]),
        seed_head=np.array([step(float(angle), length) for angle in seeds]),
        seed_pivot=np.array([step(float(angle), length + margin) for angle in _flipped(seeds)]),
        seed_area=_seed_area(settings, core, usable),
        second_seed=np.array([step(degree * math.pi / 180, settings.seed_distance) for degree in range(360)]),
        candidates=heads,
        choices=choices,
        weights=weights,
        disc=(disc_offsets(margin) * (stride, 1)).sum(1),
        free=1 - _brightness(1.0),
        target=_brightness(settings.paddle_contrast * settings.snake_contrast),
        distractor=_brightness(settings.snake_contrast),
        blank=blank.reshape(-1),
        inside=inside.reshape(-1),
        edge=edge.reshape(-1),
        markers=_markers(settings),
    )


def _flipped(angles: np.ndarray) -> np.ndarray:
    return np.where(angles < 0, angles + np.pi, angles - np.pi)
