"""What the attention tests share: every variant of every mechanism, inputs drawn in NumPy, and a way to run them.

A mechanism that is put into attention_impls appears here, and so in every law and parity test, by itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import pytest

import attention_impls
from attention_impls import Mechanism
from attention_impls.base import Dims


def _quick_compile() -> dict[str, Any]:
    """Compiling for the CPU is most of what these tests do, and none of them needs fast code."""
    options: dict[str, Any] = {"xla_backend_optimization_level": 0}
    try:
        knows_emitters = tuple(int(part) for part in version("jax").split(".")[:2]) < (0, 11)
    except PackageNotFoundError:
        return options
    return options | ({"xla_cpu_use_fusion_emitters": False} if knows_emitters else {})


QUICK_COMPILE = _quick_compile()

Arrays = dict[str, np.ndarray]

EXACT = 1e-9  # an implementation in float64 against the reference

# One batch for all laws that can share it: documents of several lengths, none and one token among them, in arrays that
# are longer than any of them. What JAX compiles for it in float64 and float32 serves them all.
LENGTHS = (37, 0, 1, 20)
TOKENS = 64


@dataclass(frozen=True)
class Case:
    """One mechanism with one choice of options."""

    name: str
    options: Any

    @property
    def mechanism(self) -> Mechanism:
        return attention_impls.load(self.name)

    def __str__(self) -> str:
        defaults = vars(self.mechanism.card.options())
        changed = [f"{key}={value}" for key, value in vars(self.options).items() if value != defaults[key]]
        return "-".join([self.name, *changed])


@dataclass(frozen=True)
class Inputs:
    """One call's arguments in NumPy: the card's inputs by letter, and in `arrays` too the stream as "residual"."""

    dims: Dims
    arrays: Arrays
    lengths: np.ndarray | None
    params: Arrays
    constants: Arrays

    def padded_to(self, tokens: int, garbage: float) -> Inputs:
        """The same examples, every padded token set to `garbage`, in arrays of `tokens` tokens."""
        assert self.lengths is not None
        out = {}
        for letter, array in self.arrays.items():
            out[letter] = np.full((len(array), tokens, *array.shape[2:]), garbage, array.dtype)
            for i, length in enumerate(self.lengths):
                out[letter][i, :length] = array[i, :length]
        return replace(self, arrays=out)

    def cut(self, tokens: int) -> Inputs:
        """The first tokens of every example."""
        return replace(self, arrays={letter: array[:, :tokens] for letter, array in self.arrays.items()})

    def with_example(self, i: int, other: Inputs) -> Inputs:
        """The same examples, the i-th replaced by that of `other`, whose parameters and constants are taken too."""
        assert self.lengths is not None
        assert other.lengths is not None
        mine = np.arange(len(self.lengths)) != i
        arrays = {
            letter: np.where(mine.reshape(-1, *[1] * (array.ndim - 1)), array, other.arrays[letter])
            for letter, array in self.arrays.items()
        }
        return replace(other, arrays=arrays, lengths=np.where(mine, self.lengths, other.lengths).astype(np.int32))

    def of(self, rows: slice) -> Inputs:
        """Some of the examples alone."""
        lengths = None if self.lengths is None else self.lengths[rows]
        return replace(self, arrays={letter: array[rows] for letter, array in self.arrays.items()}, lengths=lengths)


def cases() -> list[Case]:
    """Every variant of every mechanism."""
    return [
        Case(name, options) for name in attention_impls.names() for options in attention_impls.load(name).card.variants
    ]


def implementations(chosen: Iterable[Case] | None = None) -> list[Any]:
    """(case, backend) for every variant, or the chosen ones, and every framework it is written in."""
    return [
        pytest.param(case, backend, id=f"{case}-{backend}")
        for case in chosen or cases()
        for backend in case.mechanism.backends
    ]


def default_implementations() -> list[Any]:
    """(case, backend) for the first variant of every mechanism."""
    return implementations({case.name: case for case in reversed(cases())}.values())


def measured_implementations() -> list[Any]:
    """(case, backend) for the options at which each mechanism's costs are measured."""
    cards = {name: attention_impls.load(name).card for name in attention_impls.names()}
    return implementations(
        Case(name, options) for name, card in cards.items() for options in card.measured or card.variants
    )


def uphold(case: Case, law: str) -> None:
    """Skip, with the card's reason, where a card switches the law off."""
    held = getattr(case.mechanism.card.laws, law)
    if held is not True:
        pytest.skip(f"{case.name}: {held}")


def dims_for(max_length: int, heads: int = 4, head_dim: int = 8) -> Dims:
    """Dims with a pixel grid, not square, that holds max_length tokens."""
    columns = math.isqrt(max_length) + 2
    grid = (-(-max_length // columns), columns)
    return Dims(heads=heads, head_dim=head_dim, width=heads * head_dim, max_length=max_length, grid=grid)


def draw(
    case: Case, tokens: int, lengths: Sequence[int] | None, *, batch: int = 2, dims: Dims | None = None, seed: int = 0
) -> Inputs:
    """Standard normal inputs, and the card's own arrays, in float64."""
    card, dims = case.mechanism.card, dims or dims_for(max(tokens, 64))
    card.check(case.options, dims)
    rng = np.random.default_rng(seed)
    batch = batch if lengths is None else len(lengths)
    shapes: dict[str, Any] = dict.fromkeys(("x", "residual"), (batch, tokens, dims.width))
    arrays = {
        letter: rng.normal(size=shapes.get(letter, (batch, tokens, dims.heads, dims.head_dim)))
        for letter in (*card.inputs_of(case.options), *(["residual"] if card.residual else []))
    }
    return Inputs(
        dims=dims,
        arrays=arrays,
        lengths=None if lengths is None else np.array(lengths, np.int32),
        params=card.params(case.options, dims, rng),
        constants=card.constants(case.options, dims, rng),
    )


def canonical(case: Case) -> Inputs:
    """The batch that most laws look at; zeros at padding."""
    return draw(case, TOKENS, LENGTHS).padded_to(TOKENS, 0.0)


@functools.cache
def measured(case: Case, backend: str, dtype: str = "float64") -> tuple[np.ndarray, Arrays]:
    """Output and gradients at the canonical batch, computed once for all tests that look at them."""
    inputs = canonical(case)
    return gradients(case, backend, inputs, cotangent_for(inputs), dtype)


def output(case: Case, backend: str, inputs: Inputs, dtype: str = "float64") -> np.ndarray:
    """What `attend` returns; bfloat16 comes back as float32."""
    return gradients(case, backend, inputs, None, dtype)[0]


def gradients(
    case: Case, backend: str, inputs: Inputs, cotangent: np.ndarray | None, dtype: str = "float64"
) -> tuple[np.ndarray, Arrays]:
    """The output, and the gradients of <output, cotangent> (+ penalty) by every input and parameter."""
    pytest.importorskip(backend)
    return {"torch": _torch, "jax": _jax}[backend](case, inputs, cotangent, dtype)


def cotangent_for(inputs: Inputs) -> np.ndarray:
    """A random weight for each output, so that no gradient cancels by symmetry."""
    batch, tokens = next(iter(inputs.arrays.values())).shape[:2]
    return np.random.default_rng(1).normal(size=(batch, tokens, inputs.dims.heads, inputs.dims.head_dim))


def reference(case: Case, inputs: Inputs) -> np.ndarray:
    """What the NumPy reference returns."""
    return _reference(case, inputs)[0]


def reference_loss(case: Case, inputs: Inputs, cotangent: np.ndarray) -> float:
    """<reference, cotangent> (+ penalty): what `gradients` differentiates."""
    out, penalty = _reference(case, inputs)
    return float((out * cotangent).sum() + penalty.sum())


def _reference(case: Case, inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    given = [inputs.arrays[letter] for letter in case.mechanism.card.inputs_of(case.options)]
    keywords = keywords_of(case, inputs) | {"residual": inputs.arrays.get("residual")}
    found = case.mechanism.reference()(*given, **keywords, lengths=inputs.lengths)
    out, penalty, _ = case.mechanism.card.parts(found)
    return out, np.zeros(()) if penalty is None else penalty


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """max|a − b| / max|b|; infinite where something is not finite."""
    if not np.isfinite(found).all():
        return math.inf
    return float(np.abs(found - expected).max() / max(np.abs(expected).max(), 1e-300))


def keywords_of(case: Case, inputs: Inputs) -> dict[str, Any]:
    return {"params": inputs.params, "constants": inputs.constants, "options": case.options, "dims": inputs.dims}


def _torch(case: Case, inputs: Inputs, cotangent: np.ndarray | None, dtype: str) -> tuple[np.ndarray, Arrays]:
    import torch

    from attention_impls.torch import Attention

    kind = getattr(torch, dtype)
    learns = cotangent is not None
    given = {name: torch.tensor(array, dtype=kind, requires_grad=learns) for name, array in inputs.arrays.items()}
    layer = Attention(case.mechanism, **asdict(inputs.dims), **asdict(case.options), seed=0, dtype=kind)
    layer.load_arrays(inputs.params, inputs.constants)
    params = dict(layer.named_parameters())
    lengths = None if inputs.lengths is None else torch.tensor(inputs.lengths)
    with torch.set_grad_enabled(learns):
        out, penalty, _ = layer.parts(given, lengths, residual=given.get("residual"))
    assert out.dtype == kind
    found = out.detach().to(torch.promote_types(out.dtype, torch.float32)).numpy()
    if cotangent is None:
        return found, {}
    loss = (out * torch.tensor(cotangent, dtype=out.dtype)).sum() + (0 if penalty is None else penalty.sum())
    wanted = given | params
    grads = torch.autograd.grad(loss, list(wanted.values()), allow_unused=True, materialize_grads=True)
    return found, {name: grad.numpy() for name, grad in zip(wanted, grads, strict=True)}


def _jax(case: Case, inputs: Inputs, cotangent: np.ndarray | None, dtype: str) -> tuple[np.ndarray, Arrays]:
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(dtype == "float64"):
        given, params, constants = (
            {name: jnp.asarray(array, dtype) for name, array in arrays.items()}
            for arrays in (inputs.arrays, inputs.params, inputs.constants)
        )
        lengths = None if inputs.lengths is None else jnp.asarray(inputs.lengths)
        weight = None if cotangent is None else jnp.asarray(cotangent, dtype)
        call = jax_call(case.mechanism.attend("jax"), case, inputs.dims)
        out, grads = call(given, params, constants, lengths, weight)
        assert out.dtype == jnp.dtype(dtype)
        found = np.asarray(out.astype(jnp.promote_types(out.dtype, jnp.float32)))
        return found, {name: np.asarray(grad) for name, grad in grads.items()}


@functools.cache
def jax_call(attend: Any, case: Case, dims: Dims) -> Any:
    """Output and gradients as one compiled function, kept for the next call of the same shapes."""
    import jax
    from flax import nnx

    from attention_impls.flax import Attention

    make = partial(Attention, case.mechanism, **asdict(dims), **asdict(case.options))
    graph = nnx.split(nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0))))[0]

    def call(given: Any, params: Any, constants: Any, lengths: Any, weight: Any) -> Any:
        def loss(given: Any, params: Any) -> Any:
            named: Any = {("params", name): array for name, array in params.items()}
            named |= {("constants", name): array for name, array in constants.items()}
            layer = nnx.merge(graph, nnx.from_flat_state(named))
            assert layer._choice.attend is attend, "the key of the cache is what the layer calls"
            out, penalty, _ = layer.parts(given, lengths, residual=given.get("residual"))
            if weight is None:
                return out.sum(), out
            return (out * weight).sum() + (0 if penalty is None else penalty.sum()), out

        if weight is None:
            return loss(given, params)[1], {}
        (by_input, by_param), out = jax.grad(loss, (0, 1), has_aux=True)(given, params)
        return out, by_input | by_param

    return jax.jit(call, compiler_options=QUICK_COMPILE)
