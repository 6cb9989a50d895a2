"""The optimiser step captured as CUDA graphs: a few launches instead of hundreds.

A graph repeats the captured kernels on the captured addresses. So everything that changes between steps is in buffers.
These are tokens, lengths, labels and places of a group, the step, the number of examples and the learning rate. Others
are gradients, moments and weights. One graph for each size of a group adds to the gradients. Another graph updates the
weights and clears the gradients.

Dropout is computed from the step's number and the places in the batch, which are in buffers too.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from lra.backends.torch.encoder import Encoder
from lra.backends.torch.step import Batch, Group, group_loss, total

WARM_UP = 3  # calls before a capture, in which libraries allocate and kernels are tuned

Call = Callable[[], Any]
Recorder = Callable[[Call], Call]
"""Calls a function a few times and returns what repeats it, on the same tensors; RuntimeError where it cannot."""


class CapturedStep:
    """The step of one encoder and its optimiser, whose moments have to exist; RuntimeError where it cannot be recorded.

    The gradients are zeros between steps, so that groups only ever add to them.
    """

    def __init__(self, encoder: Encoder, optimiser: torch.optim.AdamW, record: Recorder) -> None:
        self._encoder, self._optimiser, self._record = encoder, optimiser, record
        device = next(encoder.parameters()).device
        # One for each group of parameters; float32, as the fused AdamW of CUDA reads it.
        self._rates = [torch.zeros((), device=device) for _ in optimiser.param_groups]
        self._examples = torch.ones((), dtype=torch.int64, device=device)
        self._step = torch.zeros((), dtype=torch.int32, device=device)
        self._groups: dict[tuple, tuple[Group, Call]] = {}
        for parameter in encoder.parameters():
            parameter.grad = torch.zeros_like(parameter)
        self._move = self._recorded_move()

    def prepare(self, wanted: Iterable[Batch]) -> None:
        """Record what these batches need and is not there yet; weights and moments stay as they are.

        RuntimeError where a recording fails; the eager step may go on from there.
        """
        new = {_key(group): group for batch in wanted for group in batch.groups if _key(group) not in self._groups}
        for key, group in new.items():
            lengths = None if group.lengths is None else group.lengths.clone()
            buffers = Group(group.tokens.clone(), lengths, group.labels.clone(), group.places.clone())
            self._groups[key] = buffers, self._record(partial(self._add_gradients, buffers))
        self._optimiser.zero_grad(set_to_none=False)

    def __call__(self, batch: Batch, rate: float) -> Float[Tensor, "3"]:
        """Learn from one batch that was prepared for: (loss, correct, count)."""
        for own, group in zip(self._rates, self._optimiser.param_groups, strict=True):
            own.fill_(rate * group["factor"])
        self._examples.copy_(batch.examples)
        self._step.copy_(batch.step)
        totals = [self._add(group) for group in batch.groups]
        self._move()
        return total(totals)

    def _add(self, group: Group) -> Tensor:
        buffers, add = self._groups[_key(group)]
        for buffer, given in zip(buffers, group, strict=True):
            if buffer is not None and given is not None:
                buffer.copy_(given)
        return add().clone()  # the next replay writes to the same place

    def _add_gradients(self, group: Group) -> Tensor:
        """To those that are there; the group's (loss, correct, count)."""
        loss, totals = group_loss(self._encoder, group, self._examples, self._step)
        loss.backward()
        return totals

    def _recorded_move(self) -> Call:
        def move() -> None:
            self._optimiser.step()
            self._optimiser.zero_grad(set_to_none=False)

        groups = self._optimiser.param_groups
        moments = [tensor for own in self._optimiser.state.values() for tensor in own.values()]
        with _kept([*self._encoder.parameters(), *moments]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*capturable=True")  # the calls before the capture are meant
            for group, rate in zip(groups, self._rates, strict=True):
                group |= {"lr": rate, "capturable": rate.is_cuda}
            try:
                return self._record(move)
            finally:
                for group in groups:
                    group["capturable"] = False  # which only a capture asks for


def _key(group: Group) -> tuple:
    return group.tokens.shape, group.lengths is None


@contextmanager
def _kept(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Put back what the tensors held, in place."""
    before = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, value in zip(tensors, before, strict=True):
                tensor.copy_(value)


class CudaRecorder:
    """The Recorder of a GPU for one state; its graphs share the memory of what they need only while they run."""

    def __init__(self) -> None:
        self._pool: Any = None

    def __call__(self, call: Call) -> Call:
        self._warm_up(call)
        graph = torch.cuda.CUDAGraph()
        try:
            # A capture that is broken off does not come back to the stream that it left, hence the outer one.
            with torch.cuda.stream(torch.cuda.current_stream()), torch.cuda.graph(graph, pool=self._pool):
                result = call()
        except RuntimeError:
            # Nor, before PyTorch 2.13, does the generator learn that it has ended.
            fresh = torch.Generator(device="cuda").graphsafe_get_state()
            torch.cuda.default_generators[torch.cuda.current_device()].graphsafe_set_state(fresh)
            raise
        self._pool = self._pool or graph.pool()

        def replay() -> Any:
            graph.replay()
            return result

        return replay

    def _warm_up(self, call: Call) -> None:
        """On another stream, as a capture is; the last call fails, before any capture, where the host would wait."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Synchronization debug mode")  # that it misses some
            for _ in range(WARM_UP - 1):
                call()
            torch.cuda.set_sync_debug_mode("error")
            try:
                call()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        torch.cuda.current_stream().wait_stream(side)
