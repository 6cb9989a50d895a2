"""Mamba: the authors' counts and first steps, its selection, its directions, chunks of states and what they hold."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, Inputs, cotangent_for, dims_for, draw, error, gradients, jax_call, output, reference

from attention_impls.base import Dims
from attention_impls.mamba import CARD, CONV, DECAY, IN, OUT, SELECT, SKIP, STEP, STEP_BIAS, Options, rank

BACKENDS = ("torch", "jax")


def made(options: Options, width: int) -> dict[str, np.ndarray]:
    dims = Dims(heads=1, head_dim=width, width=width, max_length=64)
    CARD.check(options, dims)
    return CARD.params(options, dims, np.random.default_rng(0))


def test_parameters_are_counted_as_the_authors_smallest_model() -> None:
    """mamba-130m: 24 layers of width 768 with a norm each, 50,280 tied embeddings, and a last norm."""
    arrays = made(Options(bidirectional=False), 768)
    assert 24 * (sum(array.size for array in arrays.values()) + 768) + 50_280 * 768 + 768 == 129_135_360
    both = made(Options(), 64)
    shared = {IN, OUT}
    one = made(Options(bidirectional=False), 64)
    assert all(both[name].size == (1 if name in shared else 2) * one[name].size for name in one)


def test_first_steps_and_states_are_the_authors() -> None:
    arrays = made(Options(state=3), 64)
    steps = np.log1p(np.exp(arrays[STEP_BIAS]))
    assert 1e-3 <= steps.min() < 1.2e-3
    assert 0.09 < steps.max() <= 0.1
    np.testing.assert_allclose(-np.exp(arrays[DECAY]), np.broadcast_to([-1.0, -2.0, -3.0], (2, 128, 3)))
    assert (arrays[SKIP] == 1).all()
    assert np.abs(arrays[STEP]).max() <= rank(Options(), dims_for(64, heads=1, head_dim=64)) ** -0.5 == 0.5


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_whose_step_is_nothing_is_passed_over(backend: str) -> None:
    """That is the selection: with a step of zero the state stays, with a long one it forgets."""
    case = Case("mamba", Options(state=2, expand=1, taps=1, rank=1, bidirectional=False))
    inputs = draw(case, 12, None, batch=1, dims=dims_for(12, heads=1, head_dim=4))
    params = inputs.params
    params[SKIP][:] = 0
    params[STEP_BIAS][:] = 0
    # The first channel after the convolution decides the step: 400 times it.
    params[CONV][0, 0] = 1
    params[IN][:, 0] = [1, 0, 0, 0]
    params[SELECT][0, :, 0] = [1, 0, 0, 0]
    params[STEP][:] = 400
    x = inputs.arrays["x"]
    x[0, :, 0] = -1  # SiLU(−1) is negative, so steps are of e^−100
    x[0, 3, 0] = 0.005
    x[0, 4, 0] = 30.0  # a step of thousands
    found = {}
    for name, (token, size) in {"as it is": (0, 1.0), "passed over": (7, 5.0), "forgotten": (3, 5.0)}.items():
        changed = x.copy()
        changed[0, token, 1:] *= size
        found[name] = output(case, backend, replace(inputs, arrays={"x": changed}))[0, 9]
    assert error(found["passed over"], found["as it is"]) < 1e-12
    assert error(found["forgotten"], found["as it is"]) < 1e-12
    changed = x.copy()
    changed[0, 4, 1:] *= 5  # what was taken in last is what is there
    assert error(output(case, backend, replace(inputs, arrays={"x": changed}))[0, 9], found["as it is"]) > 1e-3


def reversed_inputs(inputs: Inputs) -> Inputs:
    """Every example's real tokens from the last to the first, and the arrays of its directions exchanged."""
    x = inputs.arrays["x"].copy()
    for row, length in zip(x, inputs.lengths if inputs.lengths is not None else [], strict=True):
        row[:length] = row[:length][::-1].copy()
    params = {name: array if name in (IN, OUT) else array[::-1].copy() for name, array in inputs.params.items()}
    return replace(inputs, arrays={"x": x}, params=params)


def test_the_directions_mirror_each_other() -> None:
    pytest.importorskip("torch")
    case = Case("mamba", Options(state=3))
    inputs = draw(case, 20, (20, 13, 1), dims=dims_for(20, heads=1, head_dim=8))
    forward, mirrored = output(case, "torch", inputs), output(case, "torch", reversed_inputs(inputs))
    for row, other, length in zip(forward, mirrored, (20, 13, 1), strict=True):
        assert error(other[:length][::-1], row[:length]) < 1e-12


@pytest.mark.parametrize(("backend", "chunk"), [("torch", 1), ("torch", 7), ("torch", 16), ("jax", 7)])
def test_chunks_change_nothing(backend: str, chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the states nor the gradients, which go from chunk to chunk too; 37 tokens are no whole number of them."""
    pytest.importorskip(backend)
    pytest.importorskip("torch")
    case = Case("mamba", Options(state=3, rank=2))
    inputs = draw(case, 37, (37, 20), dims=dims_for(37, heads=1, head_dim=8))
    whole = gradients(case, "torch", inputs, cotangent_for(inputs))
    code = import_module(f"attention_impls.mamba.{backend}_impl")
    monkeypatch.setattr(code, "CHUNK", chunk)
    monkeypatch.setattr(code, "selective_scan", code._recurrence)  # as on a GPU
    jax_call.cache_clear()
    pieces = gradients(case, backend, inputs, cotangent_for(inputs))
    jax_call.cache_clear()
    assert error(pieces[0], reference(case, inputs)) < 1e-12
    for name, grad in whole[1].items():
        assert error(pieces[1][name], grad) < 1e-10, name


@pytest.mark.parametrize(("backend", "tokens"), [("torch", 1), ("torch", 7), ("torch", 64), ("jax", 7)])
def test_pieces_on_a_cpu_change_nothing(backend: str, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the outputs nor the gradients, which go from piece to piece."""
    pytest.importorskip(backend)
    pytest.importorskip("torch")
    ops = import_module(f"attention_impls.ops.selective_{backend}")
    sizes = {"PIECE": tokens} if backend == "jax" else {"PIECES": (tokens, tokens), "TILE": 1}  # one example a tile
    for name, size in sizes.items():
        monkeypatch.setattr(ops, name, size)
    case = Case("mamba", Options(state=3, rank=2))
    inputs = draw(case, 37, (37, 20), dims=dims_for(37, heads=1, head_dim=8))
    jax_call.cache_clear()
    out, grads = gradients(case, backend, inputs, cotangent_for(inputs))
    jax_call.cache_clear()
    monkeypatch.setattr(import_module("attention_impls.mamba.torch_impl"), "selective_scan", selective_by_loop)
    expected = gradients(case, "torch", inputs, cotangent_for(inputs))
    assert error(out, reference(case, inputs)) < 1e-12
    for name, grad in expected[1].items():
        assert error(grads[name], grad) < 1e-10, name


def test_the_number_of_threads_may_change_before_the_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    from attention_impls.ops.selective_torch import selective_scan

    draw = torch.Generator().manual_seed(0)
    shapes = [(1, 2, 70, 1024)] * 2 + [(1, 1024, 16)] + [(1, 2, 70, 16)] * 2
    given = [torch.rand(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes]
    given[2] = (-given[2]).detach().requires_grad_()
    whole = torch.autograd.grad(selective_scan(*given).sum(), given)
    loss = selective_scan(*given).sum()
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    for grad, expected in zip(torch.autograd.grad(loss, given), whole, strict=True):
        torch.testing.assert_close(grad, expected)


def selective_by_loop(step: Any, driven: Any, a: Any, b: Any, c: Any) -> Any:
    """The recurrence as it is written, with PyTorch's own gradients."""
    import torch

    state, outs = step.new_zeros((*step.shape[:2], *a.shape[1:])), []
    for i in range(step.shape[2]):
        state = (step[:, :, i, :, None] * a[:, None]).exp() * state + driven[:, :, i, :, None] * b[:, :, i, None]
        outs.append((state * c[:, :, i, None]).sum(-1))
    return torch.stack(outs, 2)


@pytest.mark.parametrize("device", ["cpu", "gpu"])
def test_a_training_holds_the_states_of_a_chunk_and_not_of_all(device: str) -> None:
    jax = pytest.importorskip("jax")
    from attention_meter import jaxpr_footprint

    from attention_impls.mamba.jax_impl import _recurrence, selective_scan

    tokens, channels, states = 16_384, 16, 16
    shapes = dict.fromkeys(("step", "driven"), (1, 1, tokens, channels)) | {"a": (1, channels, states)}
    shapes |= dict.fromkeys(("b", "c"), (1, 1, tokens, states))
    given = {name: jax.ShapeDtypeStruct(shape, np.float32) for name, shape in shapes.items()}

    def loss(given: dict[str, Any]) -> Any:
        recurrence = _recurrence if device == "gpu" else selective_scan
        return recurrence(*(given[name] for name in ("step", "driven", "a", "b", "c"))).sum()

    found = jaxpr_footprint(jax.make_jaxpr(jax.grad(loss))(given).jaxpr)
    assert found.largest < tokens * channels * states / 4
    assert found.peak < tokens * channels * states


def test_steps_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^step_min is 0\.1, expected at most step_max, which is 0\.01"):
        made(Options(step_min=0.1, step_max=0.01), 8)


def test_the_state_matrix_and_the_skip_have_the_authors_group() -> None:
    """Neither decays in their training."""
    groups = {name: CARD.group_of(name) for name in made(Options(), 16)}
    assert {name for name, group in groups.items() if group == "state"} == {DECAY, SKIP}
    assert set(groups.values()) == {"state", None}
