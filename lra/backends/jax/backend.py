"""Training and evaluation steps in Flax NNX and Optax: the K steps of a chunk are one compiled scan."""

from __future__ import annotations

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
from lra.backends.jax.encoder import Arrays, skeleton, with_weights
from lra.backends.jax.switches import switches
from lra.core.frameworks import Device
from lra.model.batches import NO_EXAMPLE, Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import Grouping
from lra.model.state import require_state
from lra.model.weights import CONSTANT, Weights, learned, within


class State(NamedTuple):
    """Learned arrays, constants and the optimiser's moments, all on the device."""

    weights: Arrays
    constants: Arrays
    adam: Any  # optax.ScaleByAdamState, which optax types only as OptState


class JaxBackend:
    """The Backend of JAX."""

    def __init__(self, blueprint: Blueprint, device: Any) -> None:
        self._blueprint = blueprint
        self.device = device
        self._products: Products = products_of(blueprint, on_gpu=device.platform == "gpu")
        self._structure: nnx.GraphDef | None = None
        self._adam = optax.scale_by_adam(blueprint.train.beta1, blueprint.train.beta2, blueprint.train.epsilon)
        self._train = jax.jit(self._train_chunk, donate_argnums=0, static_argnums=2)
        self._evaluate = jax.jit(self.evaluate_chunk)

    @property
    def grouping(self) -> Grouping:
        if self.device.platform == "gpu":
            # Reasoned, not measured: launches, and seconds of compilation, against millions of tokens a second.
            return Grouping(groups=2, sizes=4, overhead=2**14, compilation=2**23)
        return Grouping(groups=8, sizes=4, overhead=64, compilation=200_000)

    def start(self, weights: Weights, snapshot: Weights | None = None) -> State:
        require_state(snapshot, weights)
        if snapshot is not None:
            weights = within(snapshot, "weights/")
        if self._structure is None:
            self._structure = skeleton(self._blueprint, self._products, weights)
        place = partial(jax.device_put, device=self.device)
        own = place(learned(weights))
        adam = place(self._adam.init(own))
        if snapshot is not None:
            adam = optax.ScaleByAdamState(
                count=place(snapshot["adam.count"].astype(np.int32)),
                mu=place(within(snapshot, "adam.mu/")),
                nu=place(within(snapshot, "adam.nu/")),
            )
        constants = {name: array for name, array in weights.items() if name.startswith(CONSTANT)}
        return State(weights=own, constants=place(constants), adam=adam)

    def train_steps(self, state: State, chunk: Chunk) -> tuple[State, Sums]:
        batches = (chunk.tokens, chunk.lengths, chunk.labels, chunk.places, chunk.size_of, chunk.steps, chunk.rates)
        state, sums = self._train(state, jax.device_put(batches, self.device), chunk.sizes)
        return state, to_sums(sums)

    def evaluate(self, state: State, chunk: Chunk) -> Sums:
        batches = (chunk.tokens, chunk.lengths, chunk.labels, chunk.places)
        return to_sums(self._evaluate(state, jax.device_put(batches, self.device)))

    def weights(self, state: State) -> Weights:
        # Copies: on a CPU NumPy would look into buffers that the next call donates.
        return {name: np.array(array) for name, array in {**state.weights, **state.constants}.items()}

    def snapshot(self, state: State) -> Weights:
        arrays = {f"weights/{name}": array for name, array in self.weights(state).items()}
        for name in state.weights:
            arrays[f"adam.mu/{name}"] = np.array(state.adam.mu[name])
            arrays[f"adam.nu/{name}"] = np.array(state.adam.nu[name])
        return arrays | {"adam.count": np.asarray(state.adam.count, dtype=np.int64)}

    def peak_memory(self) -> int:
        stats = self.device.memory_stats()
        return stats["peak_bytes_in_use"] if stats else host_peak_memory()

    def environment(self) -> dict[str, Any]:
        on_gpu = self.device.platform == "gpu"
        return {
            "framework": f"jax {jax.__version__}",
            "cuda": self.device.client.platform_version if on_gpu else None,
            "device": self.device.device_kind,
            "framework_threads": None,
            "precision": PRECISION[self._products],
            "switches": switches(),
        }

    def step(self, sizes: tuple[int, ...], seed: jax.Array, state: State, batch: tuple) -> tuple[State, jax.Array]:
        """One optimiser step; `seed` is that of the run's dropout."""
        *examples, size_of, number, rate = batch
        dropping = Dropping(seed, number, self._blueprint.model.dropout)
        gradients, sums = self._gradients(state, examples, size_of, dropping, sizes)
        updates, adam = self._adam.update(gradients, state.adam)
        decay = self._blueprint.train.weight_decay
        moved = jax.tree.map(lambda w, u: (w - rate * (u + decay * w)).astype(w.dtype), state.weights, updates)
        return State(weights=moved, constants=state.constants, adam=adam), sums

    def evaluate_chunk(self, state: State, batches: tuple) -> jax.Array:
        """(loss, correct, count) of each batch."""
        return jax.lax.map(lambda batch: self._loss(state.weights, state.constants, batch, 1, None)[1], batches)

    def _train_chunk(self, state: State, batches: tuple, sizes: tuple[int, ...]) -> tuple[State, jax.Array]:
        return jax.lax.scan(partial(self.step, sizes, jnp.uint32(self._blueprint.seed)), state, batches)

    def _gradients(
        self, state: State, examples: Any, size_of: jax.Array, dropping: Dropping, sizes: tuple[int, ...]
    ) -> tuple[Arrays, jax.Array]:
        """Gradients of the mean of loss and penalty over one batch, and (loss, correct, count).

        The batch is cut into as many groups as `size_of` has entries, of which each is cut to its own of the `sizes`.
        """
        count = (examples[2] != NO_EXAMPLE).sum()

        def of_group(examples: Any, size: int) -> tuple[Arrays, jax.Array]:
            tokens, *rest = examples
            batch = (tokens[:, :, :size], *rest)
            return jax.grad(self._loss, has_aux=True)(state.weights, state.constants, batch, count, dropping)

        if len(size_of) == 1 and len(sizes) == 1:
            return of_group(examples, sizes[0])

        def add(total: tuple[Arrays, jax.Array], group: tuple) -> tuple[tuple[Arrays, jax.Array], None]:
            examples, size = group
            found = jax.lax.switch(size, [partial(of_group, size=each) for each in sizes], examples)
            return jax.tree.map(jnp.add, total, found), None

        groups = jax.tree.map(lambda array: array.reshape(len(size_of), -1, *array.shape[1:]), examples)
        shapes = jax.eval_shape(partial(of_group, size=sizes[0]), jax.tree.map(lambda a: a[0], groups))
        zeros = jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)
        return jax.lax.scan(add, zeros, (groups, size_of))[0]

    def _loss(
        self, weights: Arrays, constants: Arrays, batch: Any, count: Any, dropping: Dropping | None
    ) -> tuple[Any, jax.Array]:
        """Loss and penalty over `count`, and (loss, correct, examples); rows without an example count nowhere."""
        tokens, lengths, labels, places = batch
        assert self._structure is not None, "start comes first"
        encoder = with_weights(self._structure, weights)
        tokens = tokens.astype(jnp.int32)
        drop = None if dropping is None else dropping.of(places, tokens)
        logits, penalty = encoder(tokens, lengths, constants, drop)
        real = labels != NO_EXAMPLE
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(real, labels, 0))
        correct = (logits.argmax(-1) == labels) & real
        sums = jnp.stack([jnp.where(real, losses, 0).sum(), correct.sum(), real.sum()])
        return (sums[0] + jnp.where(real, penalty, 0).sum()) / count, sums


def sees_gpu() -> bool:
    """Whether JAX's own choice is a GPU."""
    return open_device(None).platform == "gpu"


def open_backend(blueprint: Blueprint, device: Device | None) -> JaxBackend:
    """The backend on that device, or on JAX's own choice, which is a GPU where there is one."""
    return JaxBackend(blueprint, open_device(device))


def to_sums(sums: jax.Array) -> Sums:
    """(loss, correct, count) of each of K batches, as the loop reads them."""
    loss, correct, count = np.asarray(sums, dtype=np.float64).T
    return Sums(loss=loss, correct=correct.astype(np.int64), count=count.astype(np.int64))
