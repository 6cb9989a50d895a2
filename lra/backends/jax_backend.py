"""Training and evaluation steps in Flax NNX and Optax: the K steps of a chunk are one compiled scan."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from lra.backends import Device, Sums, host_peak_memory
from lra.backends.jax_encoder import Arrays, skeleton, with_weights
from lra.batches import NO_EXAMPLE, Chunk
from lra.config import UserError
from lra.init import CONSTANT, Blueprint, Weights, learned, within


class State(NamedTuple):
    """Learned arrays, constants and the optimiser's moments, all on the device."""

    weights: Arrays
    constants: Arrays
    adam: Any  # optax.ScaleByAdamState, which optax types only as OptState


class JaxBackend:
    """The Backend of JAX."""

    def __init__(self, blueprint: Blueprint, device: Any) -> None:
        self._blueprint = blueprint
        self._device = device
        self._structure: nnx.GraphDef | None = None
        self._adam = optax.scale_by_adam(blueprint.train.beta1, blueprint.train.beta2, blueprint.train.epsilon)
        self._train = jax.jit(self._train_chunk, donate_argnums=0)
        self._evaluate = jax.jit(self._evaluate_chunk)

    def start(self, weights: Weights, snapshot: Weights | None = None) -> State:
        if snapshot is not None:
            weights = within(snapshot, "weights/")
        if self._structure is None:
            self._structure = skeleton(self._blueprint, weights)
        place = partial(jax.device_put, device=self._device)
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
        batches = (chunk.tokens, chunk.lengths, chunk.labels, chunk.steps, chunk.rates)
        state, sums = self._train(state, jax.device_put(batches, self._device))
        return state, _to_sums(sums)

    def evaluate(self, state: State, chunk: Chunk) -> Sums:
        batches = (chunk.tokens, chunk.lengths, chunk.labels)
        return _to_sums(self._evaluate(state, jax.device_put(batches, self._device)))

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
        stats = self._device.memory_stats()
        return stats["peak_bytes_in_use"] if stats else host_peak_memory()

    def environment(self) -> dict[str, Any]:
        on_gpu = self._device.platform == "gpu"
        return {
            "framework": f"jax {jax.__version__}",
            "cuda": self._device.client.platform_version if on_gpu else None,
            "device": self._device.device_kind,
            "framework_threads": None,
            "precision": "float32",
        }

    def _train_chunk(self, state: State, batches: tuple) -> tuple[State, jax.Array]:
        key = jax.random.key(self._blueprint.seed)

        def step(state: State, batch: tuple) -> tuple[State, jax.Array]:
            *examples, number, rate = batch
            drop = jax.random.fold_in(key, number) if self._blueprint.model.dropout else None
            gradients, sums = jax.grad(self._loss, has_aux=True)(state.weights, state.constants, examples, drop)
            updates, adam = self._adam.update(gradients, state.adam)
            decay = self._blueprint.train.weight_decay
            moved = jax.tree.map(lambda w, u: (w - rate * (u + decay * w)).astype(w.dtype), state.weights, updates)
            return State(weights=moved, constants=state.constants, adam=adam), sums

        return jax.lax.scan(step, state, batches)

    def _evaluate_chunk(self, state: State, batches: tuple) -> jax.Array:
        return jax.lax.map(lambda batch: self._loss(state.weights, state.constants, batch, None)[1], batches)

    def _loss(self, weights: Arrays, constants: Arrays, batch: Any, drop: jax.Array | None) -> tuple[Any, jax.Array]:
        """Mean of loss and penalty over one batch, and (loss, correct, count); rows without an example count nowhere.

        `drop` is the key of this step's dropout; None drops nothing.
        """
        tokens, lengths, labels = batch
        assert self._structure is not None, "start comes first"
        encoder = with_weights(self._structure, weights)
        rngs = None if drop is None else nnx.Rngs(dropout=drop)
        logits, penalty = encoder(tokens.astype(jnp.int32), lengths, constants, rngs)
        real = labels != NO_EXAMPLE
        losses = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.where(real, labels, 0))
        correct = (logits.argmax(-1) == labels) & real
        sums = jnp.stack([jnp.where(real, losses, 0).sum(), correct.sum(), real.sum()])
        return (sums[0] + jnp.where(real, penalty, 0).sum()) / sums[2], sums


def open_backend(blueprint: Blueprint, device: Device | None) -> JaxBackend:
    """The backend on that device, or on JAX's own choice, which is a GPU where there is one."""
    try:
        found = jax.devices(device)[0]
    except RuntimeError as error:
        raise UserError(f"--device {device} was asked for, but JAX sees none: use --device cpu") from error
    return JaxBackend(blueprint, found)


def _to_sums(sums: jax.Array) -> Sums:
    loss, correct, count = np.asarray(sums, dtype=np.float64).T
    return Sums(loss=loss, correct=correct.astype(np.int64), count=count.astype(np.int64))
