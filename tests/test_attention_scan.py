"""Linear recurrences over tokens: states and gradients against a loop in float64, their cost, and what stays finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from attention_impls.ops.scan import scan_operations

TREE = "jax, as on a GPU"
BACKENDS = ("torch", "jax", TREE)
KINDS = {  # shapes of the decays for inputs of (3, tokens, 4), and whether numbers are complex
    "of each token": (lambda tokens: (3, tokens, 4), False),
    "of all tokens": (lambda tokens: (1, 1, 4), True),
    "of each token, shared": (lambda tokens: (1, tokens, 1), True),
}


def drawn(kind: str, tokens: int, lengths: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decays of size at most 1, inputs that are zero from each length on, and a cotangent that is too."""
    shape, of_complex = KINDS[kind]
    rng = np.random.default_rng(0)
    decay = rng.uniform(0, 1, shape(tokens))
    inputs, weight = rng.normal(size=(2, 3, tokens, 4))
    if of_complex:
        decay = decay * np.exp(1j * rng.uniform(0, 7, decay.shape))
        inputs = inputs + 1j * rng.normal(size=inputs.shape)
        weight = weight + 1j * rng.normal(size=inputs.shape)
    for row, length in enumerate(lengths):
        inputs[row, length:], weight[row, length:] = 0, 0
    return decay, inputs, weight


def loop(decay: np.ndarray, inputs: np.ndarray, reverse: bool) -> np.ndarray:
    """One token after another."""
    decay, states = np.broadcast_to(decay, inputs.shape), np.zeros(inputs.shape, inputs.dtype)
    state = np.zeros_like(inputs[:, 0])
    order = range(inputs.shape[1])
    for i in reversed(order) if reverse else order:
        state = decay[:, i] * state + inputs[:, i]
        states[:, i] = state
    return states


def scan(
    backend: str, decay: np.ndarray, inputs: np.ndarray, reverse: bool, weight: np.ndarray | None = None
) -> tuple[np.ndarray, ...]:
    """States, and the gradients of Re Σ conj(weight) · states by decays and inputs: real and imaginary parts."""
    pytest.importorskip(backend.split(",")[0])
    weight = np.ones_like(inputs) if weight is None else weight
    if backend == "torch":
        import torch

        from attention_impls.ops.scan_torch import linear_scan as of_torch

        given = [torch.tensor(array, requires_grad=True) for array in (decay, inputs)]
        states = of_torch(*given, reverse=reverse)
        loss = (torch.tensor(weight).conj() * states).sum().real
        return states.detach().numpy(), *(grad.numpy() for grad in torch.autograd.grad(loss, given))
    import jax
    import jax.numpy as jnp

    from attention_impls.ops import scan_jax

    compiled: Any = scan_jax.states_of

    def loss_of(decay: Any, inputs: Any) -> Any:
        states = scan_jax.linear_scan(decay, inputs, reverse=reverse)
        return (jnp.conj(weight) * states).sum().real, states

    with jax.enable_x64(inputs.dtype in (np.float64, np.complex128)), pytest.MonkeyPatch.context() as patch:
        if backend == TREE:
            patch.setattr(jax, "default_backend", lambda: "gpu")
        compiled.clear_cache()
        given = (jnp.asarray(decay), jnp.asarray(inputs))
        grads, states = jax.grad(loss_of, (0, 1), has_aux=True)(*given)
        compiled.clear_cache()
        return tuple(np.asarray(each) for each in (states, *(jnp.conj(grad) for grad in grads)))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tokens", [1, 2, 3, 37])
@pytest.mark.parametrize("backend", BACKENDS)
def test_states_and_gradients_are_those_of_a_loop(backend: str, tokens: int, kind: str, reverse: bool) -> None:
    decay, inputs, weight = drawn(kind, tokens, (tokens, tokens // 2, 0))
    states, by_decay, by_inputs = scan(backend, decay, inputs, reverse, weight)
    expected = loop(decay, inputs, reverse)
    np.testing.assert_allclose(states, expected, atol=1e-13)
    # By hand: what a step's input adds to the loss is a loop the other way, and a decay meets the state before it.
    full = np.broadcast_to(decay, inputs.shape)
    grads = loop(np.roll(full, 1 if reverse else -1, 1).conj(), weight, not reverse)
    np.testing.assert_allclose(by_inputs, grads, atol=1e-13)
    before = np.roll(expected, -1 if reverse else 1, 1)
    before[:, -1 if reverse else 0] = 0
    along = tuple(axis for axis in range(3) if decay.shape[axis] < inputs.shape[axis])
    np.testing.assert_allclose(by_decay, (grads * before.conj()).sum(along, keepdims=True), atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_scan_in_reverse_starts_at_the_last_real_token(backend: str) -> None:
    decay, inputs, _ = drawn("of each token", 37, (37, 20, 1))
    states = scan(backend, decay, inputs, True)[0]
    for row, length in enumerate((37, 20, 1)):
        alone = loop(decay[row : row + 1, :length], inputs[row : row + 1, :length], True)
        np.testing.assert_allclose(states[row, :length], alone[0], atol=1e-13)
        assert not states[row, length:].any()


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_forgets_at_once_and_what_never_does_keep_their_digits(backend: str, reverse: bool) -> None:
    """A cumulative sum of logarithms, and a division by its exponential, would lose them or overflow."""
    rng = np.random.default_rng(1)
    decay = np.exp(-np.array([0.0, 1e-6, 1.0, 50.0, 1e4]))[None, None].repeat(4096, 1).astype(np.float32)
    inputs = rng.normal(size=(1, 4096, 5)).astype(np.float32)
    states, *grads = scan(backend, decay, inputs, reverse)
    expected = loop(decay.astype(np.float64), inputs.astype(np.float64), reverse)
    scale = np.abs(loop(decay.astype(np.float64), np.abs(inputs).astype(np.float64), reverse))
    assert (np.abs(states - expected) <= 12 * 2.0**-23 * scale).all()
    assert all(np.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("of_complex", [False, True])
def test_both_meters_count_recurrences_alike(of_complex: bool) -> None:
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    from attention_meter import jaxpr_footprint, torch_scans
    from torch.utils.flop_counter import FlopCounterMode

    from attention_impls.ops.scan_jax import linear_scan as of_jax
    from attention_impls.ops.scan_torch import linear_scan as of_torch

    kind = np.complex64 if of_complex else np.float32
    decay, inputs = np.ones((1, 1, 4), kind), np.ones((3, 50, 4), kind)
    expected = scan_operations(3 * 4, 50, of_complex=of_complex)
    assert expected == 600 * (4 if of_complex else 1)
    for reverse in (False, True):
        graph = jax.make_jaxpr(lambda *given, back=reverse: of_jax(*given, reverse=back))(decay, inputs)
        assert jaxpr_footprint(graph.jaxpr).scans == expected
        with FlopCounterMode(display=False, custom_mapping=torch_scans()) as counter:
            of_torch(torch.tensor(decay), torch.tensor(inputs), reverse=reverse)
        assert counter.get_total_flops() == 2 * expected


@pytest.mark.parametrize("tokens", [2, 64, 1000])
def test_a_tree_is_no_more_than_three_times_the_recurrence(tokens: int) -> None:
    """Products of what PyTorch runs inside its operator, for decays of each token: it grows with N, not N log N."""
    torch = pytest.importorskip("torch")
    from torch.utils._python_dispatch import TorchDispatchMode

    from attention_impls.ops.scan_torch import states_of

    class Products(TorchDispatchMode):
        made = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if func.overloadpacket in (torch.ops.aten.mul, torch.ops.aten.addcmul):
                self.made += out.numel()
            return out

    with Products() as products:
        states_of(torch.rand(1, tokens, 1), torch.rand(1, tokens, 1))
    assert tokens / 2 <= products.made <= 3 * tokens
