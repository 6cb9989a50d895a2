"""Dropout in PyTorch, as lra.model.dropout defines it.

PyTorch has no unsigned 32-bit arithmetic. Its int32 has the same bits, shifts are masked, and words are compared after
their highest bit is flipped. On a CPU one compiled loop draws the bits and applies them, several times as fast as
F.dropout. The backward pass draws them again, so no mask is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int32
from numba import njit
from torch import Tensor

import tasks.compiled  # noqa: F401 - decides where compiled code is kept
from lra.model.dropout import FACTORS, FIRST, SECOND, SHIFTS, Rate, channel_words

_IN_LOOP = (torch.float32, torch.float64)


class Dropout(NamedTuple):
    """What one step drops from rows of a batch; called with an array of them, its layer and its site."""

    a: Int32[Tensor, "B N"]
    b: Int32[Tensor, "B N"]
    rate: Rate

    def at_rate(self, probability: float | None) -> Dropout:
        """The same with another rate; None keeps it."""
        return self if probability is None else self._replace(rate=Rate.of(probability))

    def __call__(self, x: Float[Tensor, "B N C"], layer: int, site: int) -> Float[Tensor, "B N C"]:
        """x without what is dropped there, the rest scaled so that its mean stays."""
        channels = _channel_words(layer, site, x.shape[-1], x.device)
        if x.device.type == "cpu" and x.dtype in _IN_LOOP:
            return _InLoop.apply(x, self.a, self.b, channels, self.rate)
        words = _mix(self.a[..., None] * channels + self.b[..., None])
        return torch.where((words ^ _signed(2**31)) >= _signed(self.rate.threshold ^ 2**31), x * self.rate.scale, 0)


class Dropping(NamedTuple):
    """What a run drops, whatever the step."""

    seed: int
    probability: float
    tied: bool = False
    """Whether every position drops what the first one does."""

    def at(
        self, step: Int32[Tensor, ""], places: Int32[Tensor, " B"], tokens: Int32[Tensor, "B T N"]
    ) -> Dropout | None:
        """What that step drops from documents of the examples at these places in the batch; None for nothing.

        Every tensor stays on its device, and nothing waits for it.
        """
        if not self.probability:
            return None
        _, towers, positions = tokens.shape
        seed = torch.full_like(step, _signed(self.seed))
        a, b = _mix(seed ^ _signed(FIRST)), _mix(seed ^ _signed(SECOND))
        documents, numbers = (torch.arange(n, dtype=torch.int32, device=step.device) for n in (towers, positions))
        rows = (places[:, None] * towers + documents).reshape(-1, 1)
        for word in (step, rows, torch.zeros_like(numbers) if self.tied else numbers):
            a, b = _mix(a ^ word), _mix(b + _mix(word + _signed(SECOND)))
        return Dropout(a | 1, b, Rate.of(self.probability))


class _InLoop(torch.autograd.Function):
    """The compiled loop, forward and, on the gradient, backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, channels: Tensor, rate: Rate) -> Tensor:
        ctx.words, ctx.rate = (a, b, channels), rate
        return _dropped(x, ctx.words, rate)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        return _dropped(gradients[0], ctx.words, ctx.rate), None, None, None, None


def _dropped(x: Tensor, words: tuple[Tensor, ...], rate: Rate) -> Tensor:
    given = x.detach().contiguous()
    out = torch.empty_like(given)
    a, b, channels = (each.contiguous().numpy().reshape(-1).view(np.uint32) for each in words)
    arrays = (each.numpy().reshape(-1, x.shape[-1]) for each in (given, out))
    _drop(a, b, channels, np.uint32(rate.threshold), given.new_tensor(rate.scale).numpy()[()], *arrays)
    return out


def compiled_loop(shifts: tuple[int, ...], factors: tuple[int, ...]) -> Callable[..., None]:
    """The loop for these constants of `mix`.

    They are its closure, which is part of the key under which numba keeps compiled code. Of another module's constants
    it looks neither at the value nor at the source.
    """

    @njit(cache=True, nogil=True)
    def drop(
        a: np.ndarray, b: np.ndarray, channels: np.ndarray, threshold: Any, scale: Any, x: np.ndarray, out: np.ndarray
    ) -> None:
        nothing = scale - scale
        for row in range(a.size):
            for c in range(channels.size):
                word = np.uint32(a[row] * channels[c] + b[row])
                word = np.uint32((word ^ (word >> np.uint32(shifts[0]))) * np.uint32(factors[0]))
                word = np.uint32((word ^ (word >> np.uint32(shifts[1]))) * np.uint32(factors[1]))
                word ^= word >> np.uint32(shifts[2])
                # A product, not a choice between two results: only so the loop is vectorised.
                out[row, c] = x[row, c] * (scale if word >= threshold else nothing)

    return drop


_drop = compiled_loop(SHIFTS, FACTORS)


@cache
def _channel_words(layer: int, site: int, channels: int, device: torch.device) -> Int32[Tensor, " C"]:
    """Kept, since a GPU's captured step must not fetch them."""
    return torch.from_numpy(channel_words(layer, site, channels).view(np.int32)).to(device)


def _mix(words: Tensor) -> Tensor:
    for shift, factor in zip(SHIFTS, FACTORS, strict=False):
        words = (words ^ _shifted(words, shift)) * _signed(factor)
    return words ^ _shifted(words, SHIFTS[-1])


def _shifted(words: Tensor, places: int) -> Tensor:
    """Without copies of the sign."""
    return (words >> places) & (2 ** (32 - places) - 1)


def _signed(word: int) -> int:
    """The int32 with the bits of this word."""
    return (word % 2**32) - 2**32 * (word % 2**32 >= 2**31)
