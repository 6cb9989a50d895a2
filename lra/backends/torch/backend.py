"""Training and evaluation steps in PyTorch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lra.backends import PRECISION, Products, Sums, host_peak_memory, products_of
from lra.backends.torch.cuda_graph import CapturedStep, CudaRecorder, Recorder
from lra.backends.torch.device import open_devices
from lra.backends.torch.encoder import Encoder, canonical, to_numpy, turned
from lra.backends.torch.leader import Leader, name_of
from lra.backends.torch.ranks import Ranks
from lra.backends.torch.step import Add, Batch, Group, batches, eager_step, sums, total
from lra.backends.torch.switches import switches
from lra.backends.torch.threads import Threads
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.groups import Setting, setting
from lra.model.padding import Grouping
from lra.model.sharing import ALONE, Sharing
from lra.model.state import require_state
from lra.model.weights import Weights, within

REASON = 200  # characters of an error that a record repeats


@dataclass
class State:
    """The encoder and its optimiser, both updated in place, and the step captured for them where there is one."""

    encoder: Encoder
    optimiser: torch.optim.AdamW
    captured: CapturedStep | None = None
    number: int = 0
    """Of the states that were started, the same on every rank."""


class TorchBackend:
    """The Backend of PyTorch, for one run. `recorder` makes what captures a state's steps; None takes them eagerly.

    Of several ranks each has one; what is asked of that of rank 0 the others do too.
    """

    def __init__(
        self,
        blueprint: Blueprint,
        device: torch.device,
        recorder: Callable[[], Recorder] | None = None,
        *,
        sharing: Sharing = ALONE,
        ranks: Ranks | None = None,
    ) -> None:
        self._blueprint = blueprint
        self._device = device
        self._products: Products = products_of(blueprint, on_gpu=device.type == "cuda")
        self._recorder = recorder
        self._sharing, self._ranks, self._started = sharing, ranks or Ranks(), 0
        self._eager_because = f"on a {device.type}" if self._ranks.count == 1 else "several devices share a batch"
        self._threads = Threads(self._ranks.cores if device.type == "cpu" else 1, sharing.accumulate)

    @property
    def grouping(self) -> Grouping:
        if self._device.type == "cuda":
            # Reasoned, not measured: launches against tokens.
            found = Grouping(groups=2, sizes=4, overhead=2**14)
        else:
            found = Grouping(groups=8, sizes=None, overhead=400, parallel=4)
        return found._replace(devices=self._sharing.devices, parts=self._sharing.accumulate)

    def start(self, weights: Sequence[Weights], snapshots: Sequence[Weights | None] | None = None) -> State:
        [own], [snapshot] = weights, snapshots or [None]
        require_state(snapshot, own)
        self._ranks.tell("start", weights, snapshots)
        self._started += 1
        encoder = Encoder(self._blueprint, self._products)
        encoder.load(own if snapshot is None else within(snapshot, "weights/"), self._device)
        train = self._blueprint.train
        optimiser = torch.optim.AdamW(
            _grouped(encoder, self._blueprint), lr=0.0, betas=(train.beta1, train.beta2), eps=train.epsilon, fused=True
        )
        _place_moments(encoder, optimiser, snapshot)
        return State(encoder=encoder, optimiser=optimiser, number=self._started)

    def train_steps(self, state: State, chunks: Sequence[Chunk]) -> tuple[State, list[Sums]]:
        [whole] = chunks
        chunk = self._ranks.share("train_steps", state.number, whole)
        steps = batches(chunk, self._device)
        take = self._captured(state, steps) or partial(
            eager_step, state.encoder, state.optimiser, self._threads, self._add
        )
        with self._threads.one_core_each():
            found = [take(batch, float(rate)) for rate, batch in zip(chunk.rates, steps, strict=True)]
        return state, [_to_sums(found)]

    def evaluate(self, state: State, chunk: Chunk) -> list[Sums]:
        def of_group(group: Group) -> Tensor:
            return sums(state.encoder(group.tokens, group.lengths)[0], group.labels)

        own = self._ranks.share("evaluate", state.number, chunk)
        found = [total(parts) for parts in self._inferred(of_group, own)]
        self._ranks.add(found)
        return [_to_sums(found)]

    def logits(self, state: State, chunk: Chunk) -> list[np.ndarray]:
        def of_group(group: Group) -> Tensor:
            return state.encoder(group.tokens, group.lengths)[0]

        return [torch.stack([torch.cat(parts) for parts in self._inferred(of_group, chunk)]).float().cpu().numpy()]

    def _inferred(self, call: Callable[[Group], Tensor], chunk: Chunk) -> list[list[Tensor]]:
        """The call's results for the groups of each of the chunk's batches."""

        def of_group(group: Group) -> Tensor:
            with torch.inference_mode():  # which a thread asks for itself
                return call(group)

        with self._threads.one_core_each():
            return [self._threads.map(of_group, batch.groups) for batch in batches(chunk, self._device)]

    def weights(self, state: State) -> list[Weights]:
        return [state.encoder.weights()]

    def snapshots(self, state: State) -> list[Weights]:
        arrays = {f"weights/{name}": array for name, array in state.encoder.weights().items()}
        for name, parameter in state.encoder.named_parameters():
            moments = state.optimiser.state[parameter]
            arrays[f"adam.mu/{canonical(name)}"] = to_numpy(name, moments["exp_avg"])
            arrays[f"adam.nu/{canonical(name)}"] = to_numpy(name, moments["exp_avg_sq"])
            arrays["adam.count"] = np.asarray(moments["step"].cpu(), dtype=np.int64)
        return [arrays]

    def peak_memory(self) -> int:
        on_gpu = self._device.type == "cuda"
        self._ranks.tell("peak_memory")
        found = torch.tensor(torch.cuda.max_memory_allocated(self._device) if on_gpu else host_peak_memory())
        self._ranks.add([found])
        return int(found)

    def close(self) -> None:
        self._ranks.close()

    def environment(self) -> dict[str, Any]:
        on_gpu = self._device.type == "cuda"
        return {
            "framework": f"torch {torch.__version__}",
            "cuda": torch.version.cuda if on_gpu else None,
            "device": name_of(self._device),
            "framework_threads": self._ranks.cores,
            "precision": PRECISION[self._products],
            "switches": switches(),
            "step": f"eager: {self._eager_because}" if self._recorder is None else "captured",
        } | ({"device_names": list(self._ranks.names)} if self._ranks.count > 1 else {})

    @property
    def _add(self) -> Add | None:
        return None if self._ranks.count == 1 else self._ranks.add

    def _captured(self, state: State, steps: list[Batch]) -> CapturedStep | None:
        """The captured step, prepared for these; None where steps are eager, from the first failure to the end."""
        if self._recorder is None:
            return None
        try:
            state.captured = state.captured or CapturedStep(state.encoder, state.optimiser, self._recorder())
            state.captured.prepare(steps)
        except RuntimeError as error:
            self._recorder = state.captured = None
            self._eager_because = " ".join(str(error).split())[:REASON]
            print(f"steps are taken eagerly, they cannot be captured: {self._eager_because}", file=sys.stderr)
        return state.captured


def open_backend(blueprints: Sequence[Blueprint], device: Device | None, sharing: Sharing = ALONE) -> TorchBackend:
    """The backend of one run on that device, or on a GPU where there is one; only there are steps captured.

    On a CPU steps are eager: launching costs little there, and torch.compile took 138 s for a step that was no faster.
    So they are where several devices share a batch, since NCCL's own thread may disturb a capture.
    """
    [blueprint] = blueprints
    devices = open_devices(device, sharing.devices)
    if len(devices) > 1:
        return TorchBackend(blueprint, devices[0], sharing=sharing, ranks=Leader(blueprint, devices, sharing))
    return TorchBackend(blueprint, devices[0], CudaRecorder if devices[0].type == "cuda" else None, sharing=sharing)


def _to_sums(found: list[Tensor]) -> Sums:
    loss, correct, count = torch.stack(found).cpu().double().numpy().T
    return Sums(loss=loss, correct=correct.astype(np.int64), count=count.astype(np.int64))


def _grouped(encoder: Encoder, blueprint: Blueprint) -> list[dict[str, Any]]:
    """The encoder's parameters in groups of one setting each; a rate is the schedule's times the group's factor."""
    groups: dict[Setting, list[Tensor]] = {}
    for name, parameter in encoder.named_parameters():
        groups.setdefault(setting(blueprint, canonical(name)), []).append(parameter)
    return [{"params": own, "factor": each.factor, "weight_decay": each.decay} for each, own in groups.items()]


def _place_moments(encoder: Encoder, optimiser: torch.optim.AdamW, snapshot: Weights | None) -> None:
    """Give the optimiser the snapshot's moments, or those before the first step: a graph has to find them there."""
    for name, parameter in encoder.named_parameters():
        optimiser.state[parameter] = {
            "step": torch.tensor(float(snapshot["adam.count"]) if snapshot else 0.0, device=parameter.device),
            "exp_avg": _moment(snapshot, f"adam.mu/{canonical(name)}", name, parameter),
            "exp_avg_sq": _moment(snapshot, f"adam.nu/{canonical(name)}", name, parameter),
        }


def _moment(snapshot: Weights | None, key: str, name: str, parameter: Tensor) -> Tensor:
    if snapshot is None:
        return torch.zeros_like(parameter, memory_format=torch.contiguous_format)
    array = snapshot[key].T if turned(name) else snapshot[key]
    if array.shape != tuple(parameter.shape):  # the fused AdamW would write beyond the array
        raise UserError(f"{key} has shape {array.shape}, expected {tuple(parameter.shape)}, that of its parameter")
    return torch.tensor(array).contiguous().to(parameter.device)
