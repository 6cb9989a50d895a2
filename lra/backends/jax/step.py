"""One optimiser step in Flax NNX and Optax, of one run: what a backend compiles, and maps over seeds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lra.backends import Products
from lra.backends.jax.dropout import Dropping
from lra.backends.jax.encoder import Encoder, map_named, skeleton
from lra.model.batches import NO_EXAMPLE
from lra.model.blueprint import Blueprint
from lra.model.groups import setting

Examples = Sequence[Any]
"""Tokens (B, T, N), lengths (B, T) or None, labels (B) and places (B); with an axis of seeds before B where there are
several."""
Found = tuple[nnx.State, jax.Array]
"""Gradients, and (loss, correct, count)."""


class JaxState(NamedTuple):
    """Learned arrays, constants and the optimiser's moments, on the device; of several seeds, stacked."""

    weights: nnx.State
    constants: nnx.State
    adam: Any  # optax.ScaleByAdamState, which optax types only as OptState


class Step:
    """The functions of a step; each is pure, and compiled by its caller."""

    def __init__(self, blueprint: Blueprint, products: Products, over_devices: Callable[[Any], Any]) -> None:
        """`over_devices` sums arrays over the devices that share a batch, within `whole`."""
        self._blueprint, self._over_devices = blueprint, over_devices
        self._structure = skeleton(blueprint, products)
        train = blueprint.train
        self.adam = optax.scale_by_adam(train.beta1, train.beta2, train.epsilon)

    def gradients(
        self, state: JaxState, seed: jax.Array, number: jax.Array, examples: Examples, count: jax.Array
    ) -> Found:
        """What a group of step `number` adds to a batch of `count` examples; `seed` is that of the run's dropout."""
        model = self._blueprint.model
        dropping = Dropping(seed, number, model.dropout, model.tied_dropout)
        return jax.grad(self._loss, has_aux=True)(state.weights, state.constants, examples, count, dropping)

    def moved(self, state: JaxState, gradients: nnx.State, rate: jax.Array) -> JaxState:
        """The state after a step with these gradients."""
        updates, adam = self.adam.update(gradients, state.adam)

        def moved_by(name: str, array: jax.Array, update: jax.Array) -> jax.Array:
            own = setting(self._blueprint, name)
            scaled = rate if own.factor == 1 else rate * own.factor
            return (array - scaled * (update + own.decay * array)).astype(array.dtype)

        weights = map_named(moved_by, state.weights, updates)
        return JaxState(weights=weights, constants=state.constants, adam=adam)

    def moved_by_groups(self, state: JaxState, parts: Sequence[Found], rate: jax.Array) -> tuple[JaxState, jax.Array]:
        """The state after a step with the groups' gradients, and the batch's sums."""
        gradients, sums = jax.tree.map(lambda *each: sum(each[1:], start=each[0]), *parts)
        return self.moved(state, gradients, rate), sums

    def scores(self, state: JaxState, examples: Examples) -> jax.Array:
        """(loss, correct, count), without dropout."""
        return self._loss(state.weights, state.constants, examples, 1, None)[1]

    def whole(
        self, sizes: tuple[int, ...], seed: jax.Array, state: JaxState, batch: Sequence[Any]
    ) -> tuple[JaxState, jax.Array]:
        """A whole step, group by group, in one program: batch holds examples, `size_of`, the step's number and rate.

        The batch is cut into as many groups as `size_of` has entries, of which each is cut to its own of the `sizes`.
        """
        *examples, size_of, number, rate = batch
        count = self._over_devices((examples[2] != NO_EXAMPLE).sum())

        def of_group(group: Examples, size: int) -> Found:
            return self.gradients(state, seed, number, _cut(group, size), count)

        if len(size_of) == 1 and len(sizes) == 1:
            gradients, sums = self._over_devices(of_group(examples, sizes[0]))
            return self.moved(state, gradients, rate), sums

        def add(total: Found, given: tuple[Examples, jax.Array]) -> tuple[Found, None]:
            group, size = given
            found = jax.lax.switch(size, [partial(of_group, size=each) for each in sizes], group)
            return jax.tree.map(jnp.add, total, found), None

        stacked = jax.tree.map(lambda array: array.reshape(len(size_of), -1, *array.shape[1:]), examples)
        shapes = jax.eval_shape(partial(of_group, size=sizes[0]), jax.tree.map(lambda a: a[0], stacked))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        added, _ = jax.lax.scan(add, zeros, (stacked, size_of))
        gradients, sums = self._over_devices(added)
        return self.moved(state, gradients, rate), sums

    def logits(self, state: JaxState, examples: Examples) -> jax.Array:
        """Each row's score of each class, without dropout."""
        return self._called(state.weights, state.constants, examples, None)[0].astype(jnp.float32)

    def _loss(
        self, weights: nnx.State, constants: nnx.State, examples: Examples, count: Any, dropping: Dropping | None
    ) -> tuple[Any, jax.Array]:
        """Loss and penalty over `count`, and (loss, correct, examples); rows without an example count nowhere."""
        logits, penalty = self._called(weights, constants, examples, dropping)
        labels = examples[2]
        real = labels != NO_EXAMPLE
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(real, labels, 0))
        correct = (logits.argmax(-1) == labels) & real
        sums = jnp.stack([jnp.where(real, losses, 0).sum(), correct.sum(), real.sum()])
        return (sums[0] + jnp.where(real, penalty, 0).sum()) / count, sums

    def _called(
        self, weights: nnx.State, constants: nnx.State, examples: Examples, dropping: Dropping | None
    ) -> tuple[jax.Array, jax.Array]:
        """The encoder's logits and penalties."""
        tokens, lengths, _, places = examples
        encoder: Encoder = nnx.merge(self._structure, weights, constants)
        tokens = tokens.astype(jnp.int32)
        return encoder(tokens, lengths, None if dropping is None else dropping.of(places, tokens))


def groups(examples: Examples, sizes: Sequence[int]) -> Iterator[Examples]:
    """One batch's groups side by side, each cut to its own size; views of NumPy arrays."""
    each = examples[2].shape[-1] // len(sizes)
    for number, size in enumerate(sizes):
        rows = slice(number * each, (number + 1) * each)
        tokens, lengths, labels, places = examples
        documents = None if lengths is None else lengths[..., rows, :]
        yield _cut((tokens[..., rows, :, :], documents, labels[..., rows], places[..., rows]), size)


def _cut(examples: Examples, size: int) -> Examples:
    tokens, *rest = examples
    return (tokens[..., :size], *rest)


def examples_in(labels: np.ndarray) -> np.ndarray:
    """How many of the rows are examples; one number for each seed."""
    return np.asarray((labels != NO_EXAMPLE).sum(-1), np.int32)
