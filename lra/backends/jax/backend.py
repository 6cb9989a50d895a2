"""Training and evaluation in JAX: on a GPU a chunk's K steps are one program, on a CPU each group of a step is one.

A CPU's XLA runs what stands inside a loop on one core. Of programs that do not wait for each other it runs several, and
what is independent within them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np
import optax

from lra.backends import PRECISION, Products, Sums, host_peak_memory, products_of
from lra.backends.jax.device import open_devices
from lra.backends.jax.encoder import to_states, to_weights
from lra.backends.jax.mesh import EACH, WHOLE, Devices
from lra.backends.jax.step import JaxState, Step, examples_in, groups
from lra.backends.jax.switches import switches
from lra.core.frameworks import Device
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import Grouping
from lra.model.sharing import ALONE, Sharing, by_device
from lra.model.state import require_state
from lra.model.weights import Weights, within

OF_SEEDS = (0, 0, 0, 0, None, None, None)
"""Axis of the seeds in a step's tokens, lengths, labels, places, sizes, number and learning rate."""


class JaxBackend:
    """The Backend of JAX. Several runs are one program: the step of one, mapped over a leading axis of every array."""

    def __init__(
        self, blueprints: Sequence[Blueprint], device: Any, *others: Any, scanned: bool, accumulate: int = 1
    ) -> None:
        """`scanned`: whether a chunk is one program. `others`: the devices that share each batch with the first."""
        self._blueprint = blueprints[0]
        self._device, self._accumulate = device, accumulate
        self._devices = Devices([device, *others], seeds=len(blueprints) > 1)
        self._scanned = scanned
        self._seeds = np.array([blueprint.seed for blueprint in blueprints], np.uint32)
        self._products: Products = products_of(self._blueprint, on_gpu=device.platform == "gpu")
        self._step = Step(self._blueprint, self._products, self._devices.sum)
        self._train = jax.jit(self._train_chunk, donate_argnums=0, static_argnums=3)
        over, apart, rows = self._devices.over, self._devices.apart, self._devices.rows
        gradients = apart(self._of_seeds(self._step.gradients, (0, 0, None, 0, 0)))
        self._gradients = jax.jit(over(gradients, (WHOLE, WHOLE, WHOLE, rows, WHOLE), EACH))
        self._moved = jax.jit(self._of_seeds(self._step.moved_by_groups, (0, 0, None)), donate_argnums=0)
        scores, logits = (self._of_seeds(call, (0, None)) for call in (self._step.scores, self._step.logits))
        self._scores = jax.jit(over(apart(scores), (WHOLE, EACH), EACH))
        self._logits = jax.jit(over(logits, (WHOLE, EACH), rows))

    @property
    def grouping(self) -> Grouping:
        if self._device.platform == "gpu":
            # Reasoned, not measured: launches, and seconds of compilation, against millions of tokens a second.
            found = Grouping(groups=2, sizes=4, overhead=2**14, compilation=2**23)
        else:
            found = Grouping(groups=8, sizes=4, overhead=64, compilation=200_000, parallel=4)
        return found._replace(devices=len(self._devices.all), parts=self._accumulate)

    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None] | None = None) -> JaxState:
        found = snapshots or [None] * len(weights)
        states = [self._start(*each) for each in zip(weights, found, strict=True)]
        return self._devices.put(self._joined(states))

    def train_steps(self, state: JaxState, chunks: Sequence[Chunk]) -> tuple[JaxState, list[Sums]]:
        if self._scanned:
            chunks = [by_device(chunk, len(self._devices.all)) for chunk in chunks]
        first = chunks[0]
        lengths = [chunk.lengths for chunk in chunks if chunk.lengths is not None]
        batches = (
            self._joined([chunk.tokens for chunk in chunks], 1),  # the steps come first
            self._joined(lengths, 1) if lengths else None,
            self._joined([chunk.labels for chunk in chunks], 1),
            self._joined([chunk.places for chunk in chunks], 1),
            np.max([chunk.size_of for chunk in chunks], 0),  # a group is as long as the longest of all seeds
            first.steps,
            first.rates,
        )
        seeds = self._joined(list(self._seeds))
        with self._devices.watched():
            if self._scanned:
                placed = self._devices.put((seeds, batches), (WHOLE, self._cut_batches))
                state, sums = self._train(state, *placed, first.sizes)
            else:
                state, sums = self._train_by_groups(state, seeds, batches, first.sizes)
            return state, [_to_sums(own) for own in self._apart(sums, 1)]

    def evaluate(self, state: JaxState, chunk: Chunk) -> list[Sums]:
        axes = (0, 1) if self._devices.several else 0  # groups, and devices
        with self._devices.watched():
            found = [np.sum(parts, axes, dtype=np.float64) for parts in self._inferred(self._scores, state, chunk)]
        return [_to_sums(own) for own in self._apart(np.stack(found), 1)]

    def logits(self, state: JaxState, chunk: Chunk) -> list[np.ndarray]:
        found = [np.concatenate(parts, -2) for parts in self._inferred(self._logits, state, chunk)]
        return [np.asarray(own) for own in self._apart(np.stack(found), 1)]

    def _inferred(self, call: Callable[..., Any], state: JaxState, chunk: Chunk) -> Iterator[list[np.ndarray]]:
        """The call's results for the groups of each of the chunk's batches."""
        for k, size_of in enumerate(chunk.size_of):
            lengths = None if chunk.lengths is None else chunk.lengths[k]
            examples = (chunk.tokens[k], lengths, chunk.labels[k], chunk.places[k])
            parts = [call(state, group) for group in groups(examples, [chunk.sizes[at] for at in size_of])]
            yield jax.device_get(parts)

    def weights(self, state: JaxState) -> list[Weights]:
        return [to_weights(own.weights) | to_weights(own.constants) for own in self._apart(state)]

    def snapshots(self, state: JaxState) -> list[Weights]:
        return [
            {f"weights/{name}": array for name, array in (to_weights(own.weights) | to_weights(own.constants)).items()}
            | {f"adam.mu/{name}": array for name, array in to_weights(own.adam.mu).items()}
            | {f"adam.nu/{name}": array for name, array in to_weights(own.adam.nu).items()}
            | {"adam.count": np.asarray(own.adam.count, dtype=np.int64)}
            for own in self._apart(state)
        ]

    def peak_memory(self) -> int:
        stats = [device.memory_stats() for device in self._devices.all]
        return sum(each["peak_bytes_in_use"] for each in stats) if all(stats) else host_peak_memory()

    def close(self) -> None:
        """One process has all devices: nothing is left to end."""

    def environment(self) -> dict[str, Any]:
        on_gpu = self._device.platform == "gpu"
        return {
            "framework": f"jax {jax.__version__}",
            "cuda": self._device.client.platform_version if on_gpu else None,
            "device": self._device.device_kind,
            "framework_threads": None,
            "precision": PRECISION[self._products],
            "switches": switches(),
        } | self._several()

    def _several(self) -> dict[str, Any]:
        """What the environment says of seeds and of devices where there is more than one."""
        found: dict[str, Any] = {"seeds_in_one_program": len(self._seeds)} if len(self._seeds) > 1 else {}
        names = [device.device_kind for device in self._devices.all]
        return found | ({"device_names": names} if self._devices.several else {})

    def _start(self, weights: Weights, snapshot: Weights | None) -> JaxState:
        """The state of one run."""
        require_state(snapshot, weights)
        if snapshot is not None:
            weights = within(snapshot, "weights/")
        own, constants = to_states(weights)
        adam = self._step.adam.init(own)
        if snapshot is not None:
            adam = optax.ScaleByAdamState(
                count=snapshot["adam.count"].astype(np.int32),
                mu=to_states(within(snapshot, "adam.mu/"))[0],
                nu=to_states(within(snapshot, "adam.nu/"))[0],
            )
        return JaxState(weights=own, constants=constants, adam=adam)

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

    def _train_chunk(
        self, state: JaxState, seeds: jax.Array, batches: tuple, sizes: tuple[int, ...]
    ) -> tuple[JaxState, jax.Array]:
        step = self._of_seeds(partial(self._step.whole, sizes), (0, 0, OF_SEEDS))

        def steps(state: JaxState, seeds: jax.Array, batches: tuple) -> tuple[JaxState, jax.Array]:
            return jax.lax.scan(lambda state, batch: step(seeds, state, batch), state, batches)

        return self._devices.over(steps, (WHOLE, WHOLE, self._cut_batches), WHOLE)(state, seeds, batches)

    @property
    def _cut_batches(self) -> tuple:
        """How the arrays of a chunk are cut: tokens, lengths, labels and places by rows."""
        return (*[self._devices.rows_of_steps] * 4, WHOLE, WHOLE, WHOLE)

    def _train_by_groups(
        self, state: JaxState, seeds: Any, batches: tuple, sizes: tuple[int, ...]
    ) -> tuple[JaxState, np.ndarray]:
        tokens, lengths, labels, places, sizes_of, numbers, rates = batches
        found = []
        for k, (size_of, number, rate) in enumerate(zip(sizes_of, numbers, rates, strict=True)):
            examples = (tokens[k], None if lengths is None else lengths[k], labels[k], places[k])
            count = examples_in(labels[k])
            parts = []
            for at, group in enumerate(groups(examples, [sizes[at] for at in size_of]), start=1):
                parts.append(self._gradients(state, seeds, number, group, count))
                if self._accumulate > 1 and at % (len(size_of) // self._accumulate) == 0:
                    jax.block_until_ready(parts)  # the next part begins when this one needs its memory no more
            state, sums = self._moved(state, self._devices.added(parts), rate)
            found.append(sums)
        return state, np.stack(jax.device_get(found))


def open_backend(blueprints: Sequence[Blueprint], device: Device | None, sharing: Sharing = ALONE) -> JaxBackend:
    """The backend on devices of that kind, or of JAX's own choice, which are GPUs where there is one."""
    found = open_devices(device, sharing.devices)
    on_gpu = found[0].platform == "gpu"
    return JaxBackend(blueprints, *found, scanned=on_gpu, accumulate=sharing.accumulate)


def _to_sums(sums: jax.Array | np.ndarray) -> Sums:
    """(loss, correct, count) of each of K batches, as the loop reads them."""
    loss, correct, count = np.asarray(sums, dtype=np.float64).T
    return Sums(loss=loss, correct=correct.astype(np.int64), count=count.astype(np.int64))
