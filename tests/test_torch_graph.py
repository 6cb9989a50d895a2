"""The captured step: buffers, graphs and clearing are those of a GPU; on a CPU a plain recorder calls again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lra.model.batches import Chunk
from lra.model.blueprint import Blueprint
from lra.model.padding import Grouping
from lra.model.weights import Weights, initial_weights
from tests import small

torch = pytest.importorskip("torch")

from lra.backends.torch.backend import TorchBackend, open_backend  # noqa: E402 - PyTorch may be missing
from lra.backends.torch.cuda_graph import WARM_UP  # noqa: E402

CPU = torch.device("cpu")


class Plain:
    """Records by remembering the call, after the calls that warm up."""

    def __init__(self) -> None:
        self.recorded = 0

    def __call__(self, call: Callable[[], Any]) -> Callable[[], Any]:
        for _ in range(WARM_UP):
            call()
        self.recorded += 1
        return call


def feed(*, full: bool = False) -> list[Chunk]:
    """Chunks of two groups a batch; learning rates that float32 holds, as the captured step does."""
    plan = replace(small.TRAIN, batch_size=4)
    made = small.chunks(small.split(full=full), plan, grouping=Grouping(groups=2, sizes=3))
    return [replace(chunk, rates=chunk.rates.astype(np.float32).astype(float)) for chunk in made]


def trained(backend: TorchBackend, chunks: list[Chunk], weights: Weights, snapshot: Any = None) -> tuple[Any, Weights]:
    """Losses, and the snapshot at the end."""
    state, losses = backend.start([weights], [snapshot]), []
    for chunk in chunks:
        state, [sums] = backend.train_steps(state, [chunk])
        losses.append(sums.loss / sums.count)
    return np.concatenate(losses), backend.snapshots(state)[0]


def require_same(ours: tuple[Any, Weights], theirs: tuple[Any, Weights]) -> None:
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1].keys() == theirs[1].keys()
    for name, array in ours[1].items():
        np.testing.assert_array_equal(array, theirs[1][name], err_msg=name)


def plan_of(attn: str, dropout: float = 0.2) -> Blueprint:
    return small.blueprint(attn, model=replace(small.MODEL, dropout=dropout))


@pytest.mark.parametrize("attn", ["elfatt", "primal"])
@pytest.mark.parametrize("full", [True, False], ids=["full", "ragged"])
def test_the_captured_step_is_the_eager_one(attn: str, full: bool) -> None:
    plan, chunks, recorder = plan_of(attn), feed(full=full), Plain()
    weights = initial_weights(plan)
    captured = TorchBackend(plan, CPU, lambda: recorder)
    require_same(trained(captured, chunks, weights), trained(TorchBackend(plan, CPU), chunks, weights))
    assert captured.environment()["step"] == "captured"
    sizes = {size for chunk in chunks for size in chunk.size_of.flat}
    assert recorder.recorded == len(sizes) + 1, "one for each size of a group, and one that moves"
    assert full or len(sizes) > 1


def test_a_captured_snapshot_goes_on_in_either() -> None:
    plan, chunks = plan_of("elfatt"), feed()
    weights = initial_weights(plan)
    _, whole = trained(TorchBackend(plan, CPU, Plain), chunks, weights)
    _, half = trained(TorchBackend(plan, CPU, Plain), chunks[:1], weights)
    for record in (Plain, None):
        _, resumed = trained(TorchBackend(plan, CPU, record), chunks[1:], weights, half)
        require_same((0, resumed), (0, whole))


@pytest.mark.parametrize("fails_at", [0, 1, 2], ids=["first group", "second group", "move"])
def test_what_cannot_be_recorded_is_taken_eagerly_and_told_once(
    fails_at: int, capfd: pytest.CaptureFixture[str]
) -> None:
    plan, chunks = plan_of("softmax"), feed()
    weights = initial_weights(plan)

    class Failing(Plain):
        def __call__(self, call: Callable[[], Any]) -> Callable[[], Any]:
            found = super().__call__(call)
            if self.recorded > fails_at:
                raise RuntimeError("the host would\nwait")
            return found

    backend = TorchBackend(plan, CPU, Failing)
    require_same(trained(backend, chunks, weights), trained(TorchBackend(plan, CPU), chunks, weights))
    assert backend.environment()["step"] == "eager: the host would wait"
    assert capfd.readouterr().err.count("steps are taken eagerly") == 1


def test_a_cpu_is_eager() -> None:
    assert open_backend([plan_of("softmax")], "cpu").environment()["step"] == "eager: on a cpu"


@pytest.mark.gpu
@pytest.mark.parametrize("attn", ["elfatt", "softmax", "nystrom"])
@pytest.mark.parametrize("full", [True, False], ids=["full", "ragged"])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_cuda_graphs_repeat_the_eager_step(attn: str, full: bool, dropout: float) -> None:
    plan = plan_of(attn, dropout)
    plan = replace(plan, train=replace(plan.train, precision="float32"))
    weights, chunks = initial_weights(plan), feed(full=full)
    captured: Any = open_backend([plan], "gpu")
    eager = TorchBackend(plan, torch.device("cuda"))
    ours, theirs = (trained(backend, chunks, weights) for backend in (captured, eager))
    assert captured.environment()["step"] == "captured"
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    for name, array in ours[1].items():
        if name.endswith("key.bias"):
            continue  # softmax does not see it, so that its gradient is rounding, which AdamW makes large
        np.testing.assert_allclose(array, theirs[1][name], rtol=1e-5, atol=1e-5, err_msg=name)
