"""The constant parts of the generator, computed once: paddles, their masks, discs, turns.

A paddle is drawn at `antialias` times its size, converted to bytes, and reduced with Pillow's Lanczos filter. The
original does exactly this for every paddle. There are few different paddles. The first one of a curve has one of 360
directions; every other one ends at one of a few pixels around its pivot. Positions are (y, x). The compiled sampler
uses flat offsets in a window with a frame of `frame` pixels, so it never clips.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tasks.pathfinder.snakes.settings import Settings
from tasks.pathfinder.snakes.tables import SEED_DIRECTIONS, Tables

# A paddle is refused where the sum of two masks reaches 1.8, that is 459 in bytes.
MASK_SUM = 459


class _Stamps(NamedTuple):
    """One image a direction of each kind."""

    paddles: list[np.ndarray]
    masks: list[np.ndarray]
    limits: list[np.ndarray]  # the mask already there from which on the paddle is refused
    cores: list[np.ndarray]  # the full part of the mask


def disc_offsets(radius: int) -> np.ndarray:
    """All (y, x) with y² + x² <= radius²."""
    grid = np.arange(-radius, radius + 1)
    inside = grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2
    return np.argwhere(inside) - radius


def step(direction: float, length: int) -> tuple[float, float]:
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


def _lists(kinds: list[list[np.ndarray]], shifts: tuple[int, ...], stride: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts and pixels of every list: the pixels of an image that are not zero, relative to its middle."""
    starts, rows, total = np.zeros((len(kinds), len(kinds[0]) + 1), np.int64), [], 0
    for kind, (images, shift) in enumerate(zip(kinds, shifts, strict=True)):
        starts[kind, 0] = total
        for direction, image in enumerate(images):
            places = np.argwhere(image)
            offsets = ((places - len(image) // 2 + shift) * (stride, 1)).sum(1)
            rows.append(np.stack([offsets, image[tuple(places.T)]], axis=1))
            total += len(places)
            starts[kind, direction + 1] = total
    return starts, np.concatenate(rows)


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


def _core(mask: np.ndarray, reach: int, every_direction: bool) -> np.ndarray:
    """The full part of a mask on the original's canvas of side 2·reach + 1, whose middle is one pixel off the tail."""
    offset = np.arange(len(mask)) - len(mask) // 2 + 1
    kept = np.abs(offset) <= reach
    core = np.where((mask == 255) & kept[:, None] & kept[None, :], mask, 0)
    return core if every_direction or _usable(core) else np.zeros_like(core)


def _usable(core: np.ndarray) -> bool:
    """Whether no corner of the window has the whole core outside.

    The original widens the mask with OpenCV, which gives such a corner the lowest possible number. It then reads any
    negative number as a mask without free places. At 32×32 only 30 of the 360 directions are left.
    """
    y, x = np.argwhere(core).T - len(core) // 2 + 1
    return all(((side_y * y <= 0) & (side_x * x <= 0)).any() for side_y in (-1, 1) for side_x in (-1, 1))


def _seed_area(settings: Settings, cores: list[np.ndarray]) -> np.ndarray:
    """Where a first tail keeps the core of its mask inside the central square; a square eroded stays a rectangle."""
    low = max(settings.seed_border, settings.padding)
    high = settings.size - low
    area = np.zeros((SEED_DIRECTIONS, 4), np.int64)
    for direction, core in enumerate(cores[:SEED_DIRECTIONS]):
        if core.any():
            y, x = np.argwhere(core).T - len(core) // 2 + 1
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


@lru_cache(maxsize=16)
def tables(settings: Settings, margin: int) -> Tables:
    """All tables for one margin."""
    length = settings.paddle_length
    frame = length + math.ceil(settings.paddle_thickness) + margin + 1
    stride = settings.size + 2 * frame
    heads = candidate_heads(length + margin)
    seeds = np.arange(-180, 180) * np.pi / 180
    directions = np.concatenate([seeds, np.arctan2(heads[:, 0], heads[:, 1])])
    stamps = _stamps(settings, margin, directions)
    starts, pixels = _lists([stamps.masks, stamps.limits, stamps.cores], (0, 0, 1), stride)
    lit_starts, lit = _lists([stamps.paddles], (0,), stride)
    choices, weights = _continuity(settings, directions, heads)
    return Tables(
        size=settings.size,
        frame=frame,
        stride=stride,
        starts=starts,
        pixels=pixels,
        pivot_step=np.array([step(float(angle), length + 2 * margin) for angle in directions]),
        seed_step=_seed_steps(settings, margin, seeds),
        seed_area=_seed_area(settings, stamps.cores),
        candidates=heads,
        choices=choices,
        weights=weights,
        disc=(disc_offsets(margin) * (stride, 1)).sum(1),
        free=1 - _bytes(1.0),
        window=_window(settings, frame),
        lit_starts=lit_starts[0],
        lit=lit,
        brightness=np.stack(
            [_bytes(settings.paddle_contrast * settings.snake_contrast), _bytes(settings.snake_contrast)]
        ),
        markers=_markers(settings),
    )


def _stamps(settings: Settings, margin: int, directions: np.ndarray) -> _Stamps:
    # A first paddle is drawn forwards from its tail, every other backwards from its head.
    drawn = np.where(np.arange(len(directions)) < SEED_DIRECTIONS, directions, _flipped(directions))
    both = [draw_paddle(settings, margin, float(angle)) for angle in drawn]
    masks = [mask for _, mask in both]
    return _Stamps(
        paddles=[paddle for paddle, _ in both],
        masks=masks,
        limits=[np.where(mask > MASK_SUM - 256, MASK_SUM - mask, 0) for mask in masks],
        cores=[_core(mask, settings.paddle_length + margin, settings.every_direction) for mask in masks],
    )


def _seed_steps(settings: Settings, margin: int, seeds: np.ndarray) -> np.ndarray:
    length = settings.paddle_length
    heads = [step(float(angle), length) for angle in seeds]
    pivots = [step(float(angle), length + margin) for angle in _flipped(seeds)]
    seconds = [step(degree * math.pi / 180, settings.seed_distance) for degree in range(SEED_DIRECTIONS)]
    return np.array([heads, pivots, seconds])


def _bytes(contrast: float) -> np.ndarray:
    """What each byte of a paddle is worth, in single precision as in the original."""
    return (np.arange(256) / 255 * contrast).astype(np.float32).astype(np.float64)


def _window(settings: Settings, frame: int) -> np.ndarray:
    inside = np.pad(np.ones((settings.size, settings.size), np.uint8), frame)
    within_edge = np.pad(np.ones((settings.size - 2, settings.size - 2), np.uint8), frame + 1)
    free = settings.size - 2 * settings.padding
    blank = (inside - np.pad(np.ones((free, free), np.uint8), frame + settings.padding)) * np.uint8(255)
    return np.stack([blank, inside, inside - within_edge]).reshape(3, -1)


def _flipped(angles: np.ndarray) -> np.ndarray:
    return np.where(angles < 0, angles + np.pi, angles - np.pi)
