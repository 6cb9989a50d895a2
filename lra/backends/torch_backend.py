"""Training and evaluation steps in PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from lra.backends import Device, Sums, host_peak_memory
from lra.backends.torch_encoder import Encoder, canonical, to_numpy, turned
from lra.batches import NO_EXAMPLE, Chunk
from lra.config import UserError
from lra.init import Blueprint, Weights, within
from lra.padding import Grouping


@dataclass
class State:
    """The encoder and its optimiser; both are updated in place."""

    encoder: Encoder
    optimiser: torch.optim.AdamW


class TorchBackend:
    """The Backend of PyTorch."""

    def __init__(self, blueprint: Blueprint, device: torch.device) -> None:
        self._blueprint = blueprint
        self._device = device

    @property
    def grouping(self) -> Grouping:
        if self._device.type == "cuda":
            # Reasoned, not measured: launches against tokens.
            return Grouping(groups=2, sizes=4, overhead=2**14)
        return Grouping(groups=8, sizes=None, overhead=400)

    def start(self, weights: Weights, snapshot: Weights | None = None) -> State:
        encoder = Encoder(self._blueprint)
        encoder.load(weights if snapshot is None else within(snapshot, "weights/"), self._device)
        train = self._blueprint.train
        optimiser = torch.optim.AdamW(
            encoder.parameters(),
            lr=0.0,
            betas=(train.beta1, train.beta2),
            eps=train.epsilon,
            weight_decay=train.weight_decay,
            fused=True,
        )
        if snapshot is not None:
            _load_moments(encoder, optimiser, snapshot)
        return State(encoder=encoder, optimiser=optimiser)

    def train_steps(self, state: State, chunk: Chunk) -> tuple[State, Sums]:
        tokens, lengths, labels = self._move(chunk)
        state.encoder.train()
        sums = []
        for k, (step, rate) in enumerate(zip(chunk.steps, chunk.rates, strict=True)):
            torch.manual_seed(_dropout_seed(self._blueprint.seed, int(step)))
            state.optimiser.param_groups[0]["lr"] = float(rate)
            state.optimiser.zero_grad(set_to_none=True)
            documents = None if lengths is None else lengths[k]
            sizes = [chunk.sizes[size] for size in chunk.size_of[k]]
            sums.append(_gradients(state.encoder, tokens[k], documents, labels[k], sizes))
            state.optimiser.step()
        return state, _to_sums(sums)

    def evaluate(self, state: State, chunk: Chunk) -> Sums:
        tokens, lengths, labels = self._move(chunk)
        state.encoder.eval()
        with torch.inference_mode():
            sums = [
                _sums(state.encoder(tokens[k], None if lengths is None else lengths[k])[0], labels[k])
                for k in range(len(chunk.labels))
            ]
        return _to_sums(sums)

    def weights(self, state: State) -> Weights:
        own = {canonical(name): to_numpy(name, p) for name, p in state.encoder.named_parameters()}
        return own | state.encoder.constants()

    def snapshot(self, state: State) -> Weights:
        arrays = {f"weights/{name}": array for name, array in self.weights(state).items()}
        for name, parameter in state.encoder.named_parameters():
            moments = state.optimiser.state[parameter]
            arrays[f"adam.mu/{canonical(name)}"] = to_numpy(name, moments["exp_avg"])
            arrays[f"adam.nu/{canonical(name)}"] = to_numpy(name, moments["exp_avg_sq"])
            arrays["adam.count"] = np.asarray(moments["step"].cpu(), dtype=np.int64)
        return arrays

    def peak_memory(self) -> int:
        on_gpu = self._device.type == "cuda"
        return torch.cuda.max_memory_allocated(self._device) if on_gpu else host_peak_memory()

    def environment(self) -> dict[str, Any]:
        on_gpu = self._device.type == "cuda"
        return {
            "framework": f"torch {torch.__version__}",
            "cuda": torch.version.cuda if on_gpu else None,
            "device": torch.cuda.get_device_name(self._device) if on_gpu else "cpu",
            "framework_threads": torch.get_num_threads(),
            "precision": "float32",
        }

    def _move(self, chunk: Chunk) -> tuple[Tensor, Tensor | None, Tensor]:
        tokens = torch.from_numpy(chunk.tokens.astype(np.int32)).to(self._device)
        lengths = None if chunk.lengths is None else torch.from_numpy(chunk.lengths).to(self._device)
        return tokens, lengths, torch.from_numpy(chunk.labels).long().to(self._device)


def open_backend(blueprint: Blueprint, device: Device | None) -> TorchBackend:
    """The backend on that device, or on a GPU where there is one."""
    if device == "gpu" and not torch.cuda.is_available():
        raise UserError("--device gpu was asked for, but PyTorch sees no CUDA device: use --device cpu")
    on_gpu = device == "gpu" or (device is None and torch.cuda.is_available())
    return TorchBackend(blueprint, torch.device("cuda" if on_gpu else "cpu"))


def _gradients(
    encoder: Encoder,
    tokens: Int[Tensor, "B T N"],
    lengths: Int[Tensor, "B T"] | None,
    labels: Int[Tensor, " B"],
    sizes: Sequence[int],
) -> Tensor:
    """Leave the gradients of the batch's mean loss and penalty in the encoder; (loss, correct, count).

    The batch is cut into as many groups as there are `sizes`, of which each is cut to its own.
    """
    examples = (labels != NO_EXAMPLE).sum()
    per_group = len(labels) // len(sizes)
    sums = []
    for group, size in enumerate(sizes):
        rows = slice(group * per_group, (group + 1) * per_group)
        logits, penalty = encoder(tokens[rows, :, :size], None if lengths is None else lengths[rows])
        totals = _sums(logits, labels[rows])
        ((totals[0] + penalty.masked_fill(labels[rows] == NO_EXAMPLE, 0.0).sum()) / examples).backward()
        sums.append(totals.detach())
    return torch.stack(sums).sum(0)


def _sums(logits: Tensor, labels: Tensor) -> Tensor:
    """(loss, correct, count) of one batch, in the logits' dtype; rows without an example count nowhere."""
    real = labels != NO_EXAMPLE
    loss = F.cross_entropy(logits, labels, ignore_index=NO_EXAMPLE, reduction="sum")
    correct = (logits.argmax(-1) == labels) & real
    return torch.stack([loss, correct.sum().to(loss.dtype), real.sum().to(loss.dtype)])


def _to_sums(sums: list[Tensor]) -> Sums:
    loss, correct, count = torch.stack(sums).cpu().double().numpy().T
    return Sums(loss=loss, correct=correct.astype(np.int64), count=count.astype(np.int64))


def _dropout_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _load_moments(encoder: Encoder, optimiser: torch.optim.AdamW, snapshot: Weights) -> None:
    for name, parameter in encoder.named_parameters():
        mu, nu = snapshot[f"adam.mu/{canonical(name)}"], snapshot[f"adam.nu/{canonical(name)}"]
        turn = turned(name)
        optimiser.state[parameter] = {
            "step": torch.tensor(float(snapshot["adam.count"]), device=parameter.device),
            "exp_avg": torch.tensor(mu.T if turn else mu).contiguous().to(parameter.device),
            "exp_avg_sq": torch.tensor(nu.T if turn else nu).contiguous().to(parameter.device),
        }
