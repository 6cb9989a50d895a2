"""Dropout in JAX, as lra.model.dropout defines it."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Int32, UInt32

from lra.model.dropout import FIRST, SECOND, Rate, channel_words, mix


class Dropout(NamedTuple):
    """What one step drops from rows of a batch; called with an array of them, its layer and its site."""

    a: UInt32[Array, "B N"]
    b: UInt32[Array, "B N"]
    rate: Rate

    def at_rate(self, probability: float | None) -> Dropout:
        """The same with another rate; None keeps it."""
        return self if probability is None else self._replace(rate=Rate.of(probability))

    def __call__(self, x: Float[Array, "B N C"], layer: int, site: int) -> Float[Array, "B N C"]:
        """x without what is dropped there, the rest scaled so that its mean stays."""
        words = mix(self.a[..., None] * channel_words(layer, site, x.shape[-1]) + self.b[..., None])
        scale = jnp.asarray(self.rate.scale, x.dtype)
        return x * jnp.where(words >= np.uint32(self.rate.threshold), scale, 0)


class Dropping(NamedTuple):
    """What a run drops at one step."""

    seed: UInt32[Array, ""]
    step: Int32[Array, ""]
    probability: float
    tied: bool = False
    """Whether every position drops what the first one does."""

    def of(self, places: Int32[Array, " B"], tokens: Int[Array, "B T N"]) -> Dropout | None:
        """What is dropped from documents of the examples at these places in the batch; None for nothing."""
        if not self.probability:
            return None
        _, towers, positions = tokens.shape
        a, b = mix(self.seed ^ np.uint32(FIRST)), mix(self.seed ^ np.uint32(SECOND))
        rows = (places[:, None] * towers + jnp.arange(towers)).reshape(-1, 1)
        numbers = jnp.arange(positions)
        for word in (self.step, rows, jnp.zeros_like(numbers) if self.tied else numbers):
            word = word.astype(jnp.uint32)
            a, b = mix(a ^ word), mix(b + mix(word + np.uint32(SECOND)))
        return Dropout(a | np.uint32(1), b, Rate.of(self.probability))
