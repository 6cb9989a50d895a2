"""The snakes generator written plainly: whole arrays, nothing drawn beforehand, one number at a time from one stream.

It takes its random numbers in the order of the compiled sampler, so both must make the same images bit by bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw

from tasks.pathfinder.snakes.settings import Settings

WORD = 2**64 - 1


class Draws:
    """xoshiro256++ on Python's integers."""

    def __init__(self, words: np.ndarray) -> None:
        self.state = [int(word) for word in words]

    def uniform(self) -> float:
        a, b, c, d = self.state
        result = (_rotate((a + d) & WORD, 23) + a) & WORD
        c, d = c ^ a, d ^ b
        self.state = [a ^ d, b ^ c, c ^ (b << 17 & WORD), _rotate(d, 45)]
        return (result >> 11) / 2**53

    def below(self, high: int) -> int:
        return int(self.uniform() * high)


def _rotate(word: int, left: int) -> int:
    return (word << left | word >> 64 - left) & WORD


@dataclass
class Curve:
    image: np.ndarray
    last_mask: np.ndarray
    pivot: tuple[int, int]
    direction: float
    tail: tuple[int, int]
    head: tuple[int, int] = (0, 0)


def move(place: tuple[int, int], direction: float, length: float) -> tuple[int, int]:
    return math.ceil(place[0] + length * math.sin(direction)), math.ceil(place[1] + length * math.cos(direction))


def flip(direction: float) -> float:
    return direction + np.pi if direction < 0 else direction - np.pi


def disc(radius: int) -> np.ndarray:
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return x**2 + y**2 <= radius**2


def dilate(image: np.ndarray, shape: np.ndarray) -> np.ndarray:
    """OpenCV's dilation: pixels outside the image count as minus infinity."""
    height, width = image.shape
    ry, rx = shape.shape[0] // 2, shape.shape[1] // 2
    padded = np.pad(image.astype(float), ((ry, ry), (rx, rx)), constant_values=-np.inf)
    shifted = [padded[y : y + height, x : x + width] for y, x in np.argwhere(shape)]
    return np.maximum.reduce(shifted)


def reduced(image: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((side, side), resample=Image.Resampling.LANCZOS)) / 255


@cache
def small_paddle(s: Settings, margin: int, direction: float) -> tuple[np.ndarray, np.ndarray]:
    radius, a = s.paddle_length + math.ceil(s.paddle_thickness) + margin, s.antialias
    side = 2 * radius * a + 1
    canvas = Image.new("F", (side, side), "black")
    y, x = move((radius * a, radius * a), direction, s.paddle_length * a)
    width = round(s.paddle_thickness * a)
    ImageDraw.Draw(canvas).line([(radius * a, radius * a), (x, y)], fill="white", width=width)
    line = np.asarray(canvas)
    area = dilate(line, disc(margin * a))
    return reduced(line.astype(np.uint8), 2 * radius + 1), reduced(area.astype(np.uint8), 2 * radius + 1)


def paddle(
    s: Settings, margin: int, side: int, place: tuple[int, int], direction: float, contrast: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Brightness and mask in a window of that side, single precision as in the original."""
    drawn = []
    for small, factor in zip(small_paddle(s, margin, direction), (contrast, 1.0), strict=True):
        radius = len(small) // 2
        window = np.zeros((side + 2 * radius,) * 2, np.float32)
        window[place[0] : place[0] + len(small), place[1] : place[1] + len(small)] = small * factor
        drawn.append(window[radius:-radius, radius:-radius])
    return drawn[0], drawn[1]


def within(place: tuple[int, int], side: int) -> bool:
    return 0 <= place[0] < side and 0 <= place[1] < side


class Plain:
    """One image at a time from one stream."""

    def __init__(self, settings: Settings, margin: int, words: np.ndarray) -> None:
        self.s, self.margin, self.draws = settings, margin, Draws(words)

    def image(self) -> tuple[np.ndarray, int, list[int]]:
        """The bytes, the label, and the discs' places; a pair that cannot be finished is drawn anew."""
        pair = None
        while pair is None:
            pair = self.pair()
        curves, mask = pair
        origin = self.draws.below(2)
        picture = np.maximum(curves[0].image, curves[1].image)
        for _ in range(self.s.distractors):
            for _ in range(self.s.distractor_retrials + 1):
                made = self.distractor(picture, mask)
                if made is not None:
                    picture, mask = made
                    break
        label = self.draws.below(2)
        places = (curves[origin].tail, curves[origin if label else 1 - origin].head)
        for place in places:
            picture = np.maximum(picture, self.marker(place))
        low, high = picture.min(), picture.max()
        scaled = (picture - low) * (255.0 / (high - low)) + 0.5
        return scaled.astype(np.uint8), label, [*places[0], *places[1]]

    def pair(self) -> tuple[list[Curve], np.ndarray] | None:
        s, side = self.s, self.s.size
        mask = np.ones((side, side))
        mask[s.padding : -s.padding, s.padding : -s.padding] = 0
        first = self.seed(mask, s.seed_border)
        second = None if first is None else self.second_seed(first[0])
        if first is None or second is None:
            return None
        contrast = s.paddle_contrast * s.snake_contrast
        curves = []
        for tail, direction, pivot in (first, second):
            image, own = paddle(s, self.margin, side, tail, direction, contrast)
            curves.append(Curve(image.astype(float), own, pivot, direction, tail))
        for _ in range(s.contour_length - 1):
            for curve in curves:
                extended = self.extend(curve, mask, contrast)
                if extended is None:
                    return None
                mask = extended
        return curves, np.maximum(mask, curves[1].last_mask)

    def distractor(self, picture: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        s = self.s
        if (np.ceil(mask - 0.3) == 0).mean() < 0.01:
            return None
        seed = self.seed(mask, 1)
        if seed is None:
            return None
        tail, direction, pivot = seed
        image, own = paddle(s, self.margin, s.size, tail, direction, s.snake_contrast)
        curve = Curve(np.maximum(picture, image), own, pivot, direction, tail)
        for _ in range(s.distractor_length - 1):
            extended = self.extend(curve, mask, s.snake_contrast)
            if extended is None:
                return None
            mask = extended
        return curve.image, np.maximum(mask, curve.last_mask)

    def placed(self, tail: tuple[int, int], direction: float) -> tuple[int, int] | None:
        """The pivot behind a first paddle, or None where it or the head leaves the window."""
        head = move(tail, direction, self.s.paddle_length)
        pivot = move(head, flip(direction), self.s.paddle_length + self.margin)
        return pivot if within(head, self.s.size) and within(pivot, self.s.size) else None

    def seed(self, mask: np.ndarray, border: int) -> tuple[tuple[int, int], float, tuple[int, int]] | None:
        s = self.s
        reach = s.paddle_length + self.margin
        for _ in range(s.paddle_retrials + 1):
            direction = (self.draws.below(360) - 180) * np.pi / 180
            _, own = paddle(s, self.margin, 2 * reach + 1, (reach + 1, reach + 1), direction)
            lined = np.ones_like(mask)
            lined[border:-border, border:-border] = mask[border:-border, border:-border]
            taken = np.ceil(dilate(lined, own.astype(np.uint8)) - 0.3)
            free = np.argwhere(taken == 0)
            if taken.min() < 0 or len(free) == 0:
                return None
            y, x = free[self.draws.below(len(free))]
            pivot = self.placed((int(y), int(x)), direction)
            if pivot is not None:
                return (int(y), int(x)), direction, pivot
        return None

    def second_seed(self, tail: tuple[int, int]) -> tuple[tuple[int, int], float, tuple[int, int]] | None:
        for _ in range(self.s.paddle_retrials + 1):
            direction = (self.draws.below(360) - 180) * np.pi / 180
            away = self.draws.below(360) * np.pi / 180
            y = round(tail[0] + self.s.seed_distance * math.sin(away))
            x = round(tail[1] + self.s.seed_distance * math.cos(away))
            pivot = self.placed((y, x), direction)
            if pivot is not None:
                return (y, x), direction, pivot
        return None

    def extend(self, curve: Curve, mask: np.ndarray, contrast: float) -> np.ndarray | None:
        s, reach = self.s, self.s.paddle_length + self.margin
        pivot = move(curve.pivot, curve.direction, s.paddle_length + 2 * self.margin)
        around = np.arange(0, 360, 360.0 / (2 * reach * np.pi)) * np.pi / 180
        exact = np.stack([pivot[0] + reach * np.sin(around), pivot[1] + reach * np.cos(around)], axis=1)
        heads = np.unique(exact[((exact >= 0) & (exact < s.size)).all(1)].astype(int), axis=0)
        if len(heads) == 0:
            return None
        directions = np.arctan2(heads[:, 0] - pivot[0], heads[:, 1] - pivot[1])
        away = np.abs(directions - curve.direction)
        turn = np.minimum(np.minimum(away, 2 * np.pi - away) * s.continuity, np.pi / 2)
        weight = (1 - dilate(mask, disc(self.margin))[heads[:, 0], heads[:, 1]]) * np.maximum(np.cos(turn), 0) ** 2
        if weight.sum() < 1e-4:
            return None
        share = np.cumsum(weight / weight.sum())
        for _ in range(s.paddle_retrials + 1):
            i = int(np.argmax(share - self.draws.uniform() > 0))
            head = (int(heads[i, 0]), int(heads[i, 1]))
            image, own = paddle(s, self.margin, s.size, head, flip(float(directions[i])), contrast)
            if (mask + own).max() < 1.8:
                mask = np.maximum(mask, curve.last_mask)
                curve.image, curve.last_mask = np.maximum(curve.image, image), own
                curve.pivot, curve.direction, curve.head = pivot, float(directions[i]), head
                return mask
        return None

    def marker(self, place: tuple[int, int]) -> np.ndarray:
        a, side = self.s.antialias, self.s.size
        y, x = np.ogrid[-place[0] * a : (side - place[0]) * a, -place[1] * a : (side - place[1]) * a]
        inside = x**2 + y**2 <= (self.s.marker_radius * a) ** 2
        return reduced(inside.astype(np.uint8) * np.uint8(255), side)
