"""Which activations a training step drops: one definition in 32-bit integers, the same bits in every framework.

Whether channel c is dropped at a site depends on the run's seed, the step, the row's place in the batch, its position
in the sequence, the layer, the site and c, and on nothing else: not on how a batch is grouped or padded, on the
framework, or on the number of devices.

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

Words = UInt32[np.ndarray, "..."]

EMBEDDED, ATTENDED, HIDDEN, OUTPUT, WITHIN = range(5)
"""The sites of a layer. The sum of token and position embedding is that of layer 0; the others every block has: the
attention's output, the feed-forward layer's hidden channels, its output, and what a mechanism drops inside."""

SITES = 16  # numbers that a layer may give to its sites
CHANNELS = 2**16  # numbers that a site may give to its channels

# A permutation of the 32-bit words without visible bias, and words that tell two chains apart.
SHIFTS, FACTORS = (16, 15, 16), (0x7FEB352D, 0x846CA68B)
FIRST, SECOND = 0x9E3779B9, 0xBB67AE85


@dataclass(frozen=True)
class Rate:
    """A probability of dropping as the bits realise it: a multiple of 2⁻³²."""

    threshold: int
    """Words below it are dropped."""

    @classmethod
    def of(cls, probability: float) -> Rate:
        """The nearest one, below 1."""
        return cls(min(round(probability * 2**32), 2**32 - 1))

    @property
    def scale(self) -> float:
        """What kept activations are multiplied by, so that their mean stays."""
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
    """Which activations of a batch stay, for rows at these places with so many positions each.

    Where they are `tied`, every position has what the first one has.
    """
    a, b = row_words(seed, step, places, positions, tied=tied)
    words = mix(a[..., None] * channel_words(layer, site, channels) + b[..., None])
    return words >= np.uint32(Rate.of(probability).threshold)


def row_words(
    seed: int, step: int, places: Int[np.ndarray, " B"], positions: int, *, tied: bool = False
) -> tuple[Words, Words]:
    """The two words (a, b), each (B, N), of every position of rows at these places in the batch."""
    a, b = mix(_word(seed) ^ _word(FIRST)), mix(_word(seed) ^ _word(SECOND))
    a, b = _absorb(a, b, _word(step))
    a, b = _absorb(a, b, places.astype(np.uint32)[:, None])
    a, b = _absorb(a, b, np.arange(positions, dtype=np.uint32) * np.uint32(not tied))
    return a | np.uint32(1), b


def channel_words(layer: int, site: int, channels: int) -> UInt32[np.ndarray, " C"]:
    """The word of each channel of a site."""
    assert site < SITES, f"site {site} given, at most {SITES} sites a layer have numbers of their own"
    assert channels <= CHANNELS, f"{channels} channels given, at most {CHANNELS} have numbers of their own"
    first = (layer * SITES + site) * CHANNELS
    return mix(np.arange(first, first + channels, dtype=np.uint32))


def mix(words: Any) -> Any:
    """A permutation of the 32-bit words, for NumPy and JAX arrays alike."""
    first, second, third = (np.uint32(shift) for shift in SHIFTS)
    words = (words ^ (words >> first)) * np.uint32(FACTORS[0])
    words = (words ^ (words >> second)) * np.uint32(FACTORS[1])
    return words ^ (words >> third)


def _absorb(a: Words, b: Words, word: Words) -> tuple[Words, Words]:
    """Both chains with one more word in them; for every state of a chain that is a permutation of the word."""
    return mix(a ^ word), mix(b + mix(word + np.uint32(SECOND)))


def _word(number: int) -> Words:
    """An array of rows and positions, since NumPy warns where a scalar wraps."""
    return np.array([[number % 2**32]], dtype=np.uint32)
