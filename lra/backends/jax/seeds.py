"""Several seeds in one program: the training step of one run, vmapped over a leading axis of every array."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lra.backends import Sums
from lra.backends.jax.backend import JaxBackend, State, to_sums
from lra.model.batches import Chunk
from lra.model.padding import Grouping
from lra.model.weights import Weights

OF_SEEDS = (0, 0, 0, 0, None, None, None)
"""Axis of the seeds in a step's tokens, lengths, labels, places, sizes, number and learning rate."""


class Seeds:
    """The Lanes of JAX; a state holds those of all seeds, stacked."""

    def __init__(self, one: JaxBackend, seeds: Sequence[int]) -> None:
        self._one = one
        self._seeds = jnp.array(seeds, jnp.uint32)
        self._train = jax.jit(self._train_chunk, donate_argnums=0, static_argnums=3)
        self._evaluate = jax.jit(jax.vmap(one.evaluate_chunk, in_axes=(0, None)))
        self.peak_memory = one.peak_memory

    @property
    def grouping(self) -> Grouping:
        return self._one.grouping

    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None]) -> State:
        states = [self._one.start(own, snapshot) for own, snapshot in zip(weights, snapshots, strict=True)]
        return jax.tree.map(lambda *arrays: jnp.stack(arrays), *states)

    def train_steps(self, state: State, chunks: Sequence[Chunk]) -> tuple[State, list[Sums]]:
        first = chunks[0]
        lengths = [chunk.lengths for chunk in chunks if chunk.lengths is not None]
        batches = (  # the scan runs over the steps, so they come first
            np.stack([chunk.tokens for chunk in chunks], 1),
            np.stack(lengths, 1) if lengths else None,
            np.stack([chunk.labels for chunk in chunks], 1),
            np.stack([chunk.places for chunk in chunks], 1),
            np.max([chunk.size_of for chunk in chunks], 0),  # a group is as long as the longest of all seeds
            first.steps,
            first.rates,
        )
        state, sums = self._train(state, self._seeds, jax.device_put(batches, self._one.device), first.sizes)
        return state, [to_sums(sums[:, seed]) for seed in range(len(chunks))]

    def evaluate(self, state: State, chunk: Chunk) -> list[Sums]:
        batches = jax.device_put((chunk.tokens, chunk.lengths, chunk.labels, chunk.places), self._one.device)
        return [to_sums(sums) for sums in self._evaluate(state, batches)]

    def weights(self, state: State) -> list[Weights]:
        return [self._one.weights(own) for own in self._apart(state)]

    def snapshots(self, state: State) -> list[Weights]:
        return [self._one.snapshot(own) for own in self._apart(state)]

    def environment(self) -> dict[str, Any]:
        return self._one.environment() | {"seeds_in_one_program": len(self._seeds)}

    def _train_chunk(
        self, state: State, seeds: jax.Array, batches: tuple, sizes: tuple[int, ...]
    ) -> tuple[State, jax.Array]:
        step = jax.vmap(partial(self._one.step, sizes), in_axes=(0, 0, OF_SEEDS))
        return jax.lax.scan(lambda state, batch: step(seeds, state, batch), state, batches)

    def _apart(self, state: State) -> list[State]:
        return [jax.tree.map(lambda array, at=at: array[at], state) for at in range(len(self._seeds))]
