"""Training and evaluation steps in Flax NNX and Optax: the K steps of a chunk are one compiled scan."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lra.backends import PRECISION, Products, Sums, host_peak_memory, products_of
from lra.backends.jax.device import open_device
from lra.backends.jax.dropout import Dropping
from lra.backends.jax.encoder import Encoder, map_named, skeleton, to_states, to_weights
from lra.backends.jax.switches import switches
from lra.core.frameworks import Device
from lra.model.batches import NO_EXAMPLE, Chunk
from lra.model.blueprint import Blueprint
from lra.model.groups import setting
from lra.model.padding import Grouping
from lra.model.state import require_state
from lra.model.weights import Weights, within

OF_SEEDS = (0, 0, 0, 0, None, None, None)
"""Axis of the seeds in a step's tokens, lengths, labels, places, sizes, number and learning rate."""


class State(NamedTuple):
    """Learned arrays, constants and the optimiser's moments, on the device; of several seeds, stacked."""

    weights: nnx.State
    constants: nnx.State
    adam: Any  # optax.ScaleByAdamState, which optax types only as OptState


class JaxBackend:
    """The Backend of JAX. Several runs are one program: the step of one, mapped over a leading axis of every array."""

    def __init__(self, blueprints: Sequence[Blueprint], device: Any) -> None:
        self._blueprint = blueprints[0]
        self._device = device
        self._seeds = np.array([blueprint.seed for blueprint in blueprints], np.uint32)
        self._products: Products = products_of(self._blueprint, on_gpu=device.platform == "gpu")
        self._structure = skeleton(self._blueprint, self._products)
        train = self._blueprint.train
        self._adam = optax.scale_by_adam(train.beta1, train.beta2, train.epsilon)
        self._train = jax.jit(self._train_chunk, donate_argnums=0, static_argnums=3)
        self._evaluate = jax.jit(self._evaluate_chunk)

    @property
    def grouping(self) -> Grouping:
        if self._device.platform == "gpu":
            # Reasoned, not measured: launches, and seconds of compilation, against millions of tokens a second.
            return Grouping(groups=2, sizes=4, overhead=2**14, compilation=2**23)
        return Grouping(groups=8, sizes=4, overhead=64, compilation=200_000)

    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None] | None = None) -> State:
        found = snapshots or [None] * len(weights)
        states = [self._start(*each) for each in zip(weights, found, strict=True)]
        return jax.device_put(self._joined(states), self._device)

    def train_steps(self, state: State, chunks: Sequence[Chunk]) -> tuple[State, list[Sums]]:
        first = chunks[0]
        lengths = [chunk.lengths for chunk in chunks if chunk.lengths is not None]
        batches = (
            self._joined([chunk.tokens for chunk in chunks], 1),  # the scan runs over the steps, so they come first
            self._joined(lengths, 1) if lengths else None,
            self._joined([chunk.labels for chunk in chunks], 1),
            self._joined([chunk.places for chunk in chunks], 1),
            np.max([chunk.size_of for chunk in chunks], 0),  # a group is as long as the longest of all seeds
            first.steps,
            first.rates,
        )
        seeds = self._joined(list(self._seeds))
        state, sums = self._train(state, *jax.device_put((seeds, batches), self._device), first.sizes)
        return state, [_to_sums(own) for own in self._apart(sums, 1)]

    def evaluate(self, state: State, chunk: Chunk) -> list[Sums]:
        batches = jax.device_put((chunk.tokens, chunk.lengths, chunk.labels, chunk.places), self._device)
        return [_to_sums(own) for own in self._apart(self._evaluate(state, batches))]

    def weights(self, state: State) -> list[Weights]:
        return [to_weights(own.weights) | to_weights(own.constants) for own in self._apart(state)]

    def snapshots(self, state: State) -> list[Weights]:
        return [
            {f"weights/{name}": array for name, array in (to_weights(own.weights) | to_weights(own.constants)).items()}
            | {f"adam.mu/{name}": array for name, array in to_weights(own.adam.mu).items()}
            | {f"adam.nu/{name}": array for name, array in to_weights(own.adam.nu).items()}
            | {"adam.count": np.asarray(own.adam.count, dtype=np.int64)}
            for own in self._apart(state)
        ]

    def peak_memory(self) -> int:
        stats = self._device.memory_stats()
        return stats["peak_bytes_in_use"] if stats else host_peak_memory()

    def environment(self) -> dict[str, Any]:
        on_gpu = self._device.platform == "gpu"
        return {
            "framework": f"jax {jax.__version__}",
            "cuda": self._device.client.platform_version if on_gpu else None,
            "device": self._device.device_kind,
            "framework_threads": None,
            "precision": PRECISION[self._products],
            "switches": switches(),
        } | ({"seeds_in_one_program": len(self._seeds)} if len(self._seeds) > 1 else {})

    def _start(self, weights: Weights, snapshot: Weights | None) -> State:
        """The state of one run."""
        require_state(snapshot, weights)
        if snapshot is not None:
            weights = within(snapshot, "weights/")
        own, constants = to_states(weights)
        adam = self._adam.init(own)
        if snapshot is not None:
            adam = optax.ScaleByAdamState(
                count=snapshot["adam.count"].astype(np.int32),
                mu=to_states(within(snapshot, "adam.mu/"))[0],
                nu=to_states(within(snapshot, "adam.nu/"))[0],
            )
        return State(weights=own, constants=constants, adam=adam)

    def _joined(self, trees: Sequence[Any], axis: int = 0) -> Any:
        """The seeds' trees as one with an axis of seeds; that of a single seed has none."""
        if len(self._seeds) == 1:
            return trees[0]
        return jax.tree.map(lambda *arrays: np.stack(arrays, axis), *trees)

    def _apart(self, tree: Any, axis: int = 0) -> list[Any]:
        """The inverse of `_joined`."""
        if len(self._seeds) == 1:
            return [tree]
        pick = lambda array, at: jax.lax.index_in_dim(array, at, axis, keepdims=False)  # noqa: E731
        return [jax.tree.map(partial(pick, at=at), tree) for at in range(len(self._seeds))]

    def _of_seeds(self, call: Callable[..., Any], axes: tuple) -> Callable[..., Any]:
        """The call of one seed, mapped over several."""
        return call if len(self._seeds) == 1 else jax.vmap(call, in_axes=axes)

    def _step(self, sizes: tuple[int, ...], seed: jax.Array, state: State, batch: tuple) -> tuple[State, jax.Array]:
        """One optimiser step; `seed` is that of the run's dropout."""
        *examples, size_of, number, rate = batch
        dropping = Dropping(seed, number, self._blueprint.model.dropout)
        gradients, sums = self._gradients(state, examples, size_of, dropping, sizes)
        updates, adam = self._adam.update(gradients, state.adam)

        def moved_by(name: str, w: jax.Array, update: jax.Array) -> jax.Array:
            own = setting(self._blueprint, name)
            scaled = rate if own.factor == 1 else rate * own.factor
            return (w - scaled * (update + own.decay * w)).astype(w.dtype)

        moved = map_named(moved_by, state.weights, updates)
        return State(weights=moved, constants=state.constants, adam=adam), sums

    def _evaluate_chunk(self, state: State, batches: tuple) -> jax.Array:
        """(loss, correct, count) of each batch."""

        def of_seed(state: State, batches: tuple) -> jax.Array:
            return jax.lax.map(lambda batch: self._loss(state.weights, state.constants, batch, 1, None)[1], batches)

        return self._of_seeds(of_seed, (0, None))(state, batches)

    def _train_chunk(
        self, state: State, seeds: jax.Array, batches: tuple, sizes: tuple[int, ...]
    ) -> tuple[State, jax.Array]:
        step = self._of_seeds(partial(self._step, sizes), (0, 0, OF_SEEDS))
        return jax.lax.scan(lambda state, batch: step(seeds, state, batch), state, batches)

    def _gradients(
        self, state: State, examples: Any, size_of: jax.Array, dropping: Dropping, sizes: tuple[int, ...]
    ) -> tuple[nnx.State, jax.Array]:
        """Gradients of the mean of loss and penalty over one batch, and (loss, correct, count).

        The batch is cut into as many groups as `size_of` has entries, of which each is cut to its own of the `sizes`.
        """
        count = (examples[2] != NO_EXAMPLE).sum()

        def of_group(examples: Any, size: int) -> tuple[nnx.State, jax.Array]:
            tokens, *rest = examples
            batch = (tokens[:, :, :size], *rest)
            return jax.grad(self._loss, has_aux=True)(state.weights, state.constants, batch, count, dropping)

        if len(size_of) == 1 and len(sizes) == 1:
            return of_group(examples, sizes[0])

        def add(total: tuple[nnx.State, jax.Array], group: tuple) -> tuple[tuple[nnx.State, jax.Array], None]:
            examples, size = group
            found = jax.lax.switch(size, [partial(of_group, size=each) for each in sizes], examples)
            return jax.tree.map(jnp.add, total, found), None

        groups = jax.tree.map(lambda array: array.reshape(len(size_of), -1, *array.shape[1:]), examples)
        shapes = jax.eval_shape(partial(of_group, size=sizes[0]), jax.tree.map(lambda a: a[0], groups))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        return jax.lax.scan(add, zeros, (groups, size_of))[0]

    def _loss(
        self, weights: nnx.State, constants: nnx.State, batch: Any, count: Any, dropping: Dropping | None
    ) -> tuple[Any, jax.Array]:
        """Loss and penalty over `count`, and (loss, correct, examples); rows without an example count nowhere."""
        tokens, lengths, labels, places = batch
        encoder: Encoder = nnx.merge(self._structure, weights, constants)
        tokens = tokens.astype(jnp.int32)
        drop = None if dropping is None else dropping.of(places, tokens)
        logits, penalty = encoder(tokens, lengths, drop)
        real = labels != NO_EXAMPLE
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(real, labels, 0))
        correct = (logits.argmax(-1) == labels) & real
        sums = jnp.stack([jnp.where(real, losses, 0).sum(), correct.sum(), real.sum()])
        return (sums[0] + jnp.where(real, penalty, 0).sum()) / count, sums


def sees_gpu() -> bool:
    """Whether JAX's own choice is a GPU."""
    return open_device(None).platform == "gpu"


def open_backend(blueprints: Sequence[Blueprint], device: Device | None) -> JaxBackend:
    """The backend on that device, or on JAX's own choice, which is a GPU where there is one."""
    return JaxBackend(blueprints, open_device(device))


def _to_sums(sums: jax.Array) -> Sums:
    """(loss, correct, count) of each of K batches, as the loop reads them."""
    loss, correct, count = np.asarray(sums, dtype=np.float64).T
    return Sums(loss=loss, correct=correct.astype(np.int64), count=count.astype(np.int64))
