"""Dropout masks, defined once in 32-bit integers, so that every framework drops the same activations.

A mask depends on the run's seed, the step, the row's place in the batch and the position. It also depends on the layer,
the site and the channel c, and on nothing else. So the grouping and padding of a batch, the framework and the number of
devices do not change it.

    word(row, site, c) = mix(a·k + b)  mod 2³²        dropped where word < rate · 2³²

(a, b) are the row's two words, chained from (seed, step, place, position), with a odd; k = mix(site and c) is the
channel's word. `mix` permutes the 32-bit words, so no two channels of any site share one. This module is the
reference in NumPy; `backends` has the same in PyTorch and JAX.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, UInt32

from lra.core.config import DROPPED

Words = UInt32[np.ndarray, "..."]

EMBEDDED, ATTENDED, HIDDEN, OUTPUT, WITHIN = range(5)
"""The sites of a layer. Layer 0 has the sum of token and position embedding. Every block has the others: the
attention's output, the feed-forward layer's hidden channels, its output, and a site inside the mechanism."""

SITES = 16  # the most sites of a layer

# Constants of a permutation of the 32-bit words without visible bias, and words that separate the two chains.
SHIFTS, FACTORS = (16, 15, 16), (0x7FEB352D, 0x846CA68B)
FIRST, SECOND = 0x9E3779B9, 0xBB67AE85


@dataclass(frozen=True)
class Rate:
    """A dropout rate as the bits realise it: a multiple of 2⁻³²."""

    threshold: int
    """Activations whose word is below this threshold are dropped."""

    @classmethod
    def of(cls, probability: float) -> Rate:
        """The nearest rate below 1."""
        return cls(min(round(probability * 2**32), 2**32 - 1))

    @property
    def scale(self) -> float:
        """The factor of kept activations, which preserves their mean."""
        return 1 / (1 - self.threshold / 2**32)


def kept(
    seed: int,
    step: int,
    places: Int[np.ndarray, " B"],
    positions: int,
    layer: int,
    site: int,
    channels: int,
    probability: float,
    *,
    tied: bool = False,
) -> Bool[np.ndarray, "B N C"]:
    """The mask of a batch, True where an activation is kept, for rows at these places with N positions each.

    If `tied`, every position has the mask of the first one.
    """
    a, b = row_words(seed, step, places, positions, tied=tied)
    words = mix(a[..., None] * channel_words(layer, site, channels) + b[..., None])
    return words >= np.uint32(Rate.of(probability).threshold)


def row_words(
    seed: int, step: int, places: Int[np.ndarray, " B"], positions: int, *, tied: bool = False
) -> tuple[Words, Words]:
    """The two words (a, b), each (B, N), of every position of the rows at these places in the batch."""
    a, b = mix(_word(seed) ^ _word(FIRST)), mix(_word(seed) ^ _word(SECOND))
    a, b = _absorb(a, b, _word(step))
    a, b = _absorb(a, b, places.astype(np.uint32)[:, None])
    a, b = _absorb(a, b, np.arange(positions, dtype=np.uint32) * np.uint32(not tied))
    return a | np.uint32(1), b


def channel_words(layer: int, site: int, channels: int) -> UInt32[np.ndarray, " C"]:
    """The word of each channel of a site."""
    assert site < SITES, f"site {site} given, expected less than {SITES}"
    assert channels <= DROPPED, f"{channels} channels given, expected at most {DROPPED}"
    first = (layer * SITES + site) * DROPPED
    return mix(np.arange(first, first + channels, dtype=np.uint32))


def mix(words: Any) -> Any:
    """A permutation of the 32-bit words, for NumPy and JAX arrays alike."""
    first, second, third = (np.uint32(shift) for shift in SHIFTS)
    words = (words ^ (words >> first)) * np.uint32(FACTORS[0])
    words = (words ^ (words >> second)) * np.uint32(FACTORS[1])
    return words ^ (words >> third)


def _absorb(a: Words, b: Words, word: Words) -> tuple[Words, Words]:
    """Add one word to both chains. For every state of a chain this is a permutation of the word."""
    return mix(a ^ word), mix(b + mix(word + np.uint32(SECOND)))


def _word(number: int) -> Words:
    """An array of rows and positions; NumPy would warn about scalars that wrap around."""
    return np.array([[number % 2**32]], dtype=np.uint32)
