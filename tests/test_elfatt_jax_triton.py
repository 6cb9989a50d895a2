"""ELFATT's Triton kernels in JAX: on a CPU by stand-ins for both of jax-triton's ways of calling, on a GPU by it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from attention_cases import QUICK_COMPILE, Arrays, Inputs, cotangent_for
from elfatt_cells import BOUND, Cell, assert_close, by_torch, drawn, expected, poisoned, rounded
from triton_calls import CALLS, Refused, jax

from attention_impls.base import AttentionError, Layer
from attention_impls.elfatt import CARD, Options, global_heads
from attention_impls.elfatt.kernels import INSTALLED
from attention_impls.elfatt.triton import jax_attend, plan
from attention_impls.ops.local_conv import BIAS, WEIGHT

jnp = jax.numpy
SAME = 2e-6  # sums over splits and programs are added up in another order
# What both ways of calling do differently is to write into what is there: here outputs of one and of two kernels each.
WRITTEN_INTO = [
    ("float32", Cell(33, (33, 17), block=16)),
    ("float32", Cell(34, (34, 20), block=64)),
]
# Besides: no lengths and no convolution, each kind of heads alone, an empty example, several heads, 16 bits.
OTHERS = [
    ("float32", Cell(33, head_dim=20, block=33, conv=False)),
    ("float32", Cell(33, (33, 0), share=0.0, block=33)),
    ("float32", Cell(130, (130,), share=1.0, heads=1)),
    ("bfloat16", Cell(35, (35, 0), heads=3, share=0.67, head_dim=24, block=16)),
]
LARGE = ("bfloat16", Cell(4096, (4096, 0, 2500), head_dim=32, block=128))
FAULTY = WRITTEN_INTO[1]


def by_jax(cell: Cell, inputs: Inputs, cotangent: np.ndarray, dtype: str) -> Arrays:
    """The output and the gradients in compiled JAX, with NaN in all padding."""
    given, weight = poisoned(inputs, cotangent, np.nan)
    lengths = None if inputs.lengths is None else jnp.asarray(inputs.lengths)

    def call(arrays: dict[str, Any], params: dict[str, Any], weight: Any) -> Any:
        def attend(arrays: dict[str, Any], params: dict[str, Any]) -> Any:
            conv = (params[WEIGHT], params[BIAS]) if params else None
            split = global_heads(cell.case.options, inputs.dims)
            return jax_attend.attend_fused(**arrays, lengths=lengths, conv=conv, split=split, block_size=cell.block)

        out, pull = jax.vjp(attend, arrays, params)
        return out, pull(weight)

    parts = ({name: jnp.asarray(x, dtype) for name, x in arrays.items()} for arrays in (given.arrays, given.params))
    compiled = jax.jit(call, compiler_options=QUICK_COMPILE if jax.default_backend() == "cpu" else None)
    out, (by_input, by_param) = compiled(*parts, jnp.asarray(weight, dtype))
    found = {"out": out} | by_input | by_param
    return {name: np.asarray(x.astype("float32"), np.float64) for name, x in found.items()}


@functools.cache
def given(dtype: str, cell: Cell) -> tuple[Inputs, np.ndarray]:
    """Inputs and a cotangent."""
    inputs = drawn(cell, dtype)
    return inputs, rounded(cotangent_for(inputs), dtype)


@functools.cache
def in_pytorch(dtype: str, cell: Cell) -> Arrays:
    """The output and gradients of the same kernels under PyTorch."""
    return by_torch(cell, *given(dtype, cell), dtype, "cpu")


def compare(dtype: str, cell: Cell) -> Arrays:
    """The output and gradients, which are those of the same kernels under PyTorch."""
    found = by_jax(cell, *given(dtype, cell), dtype)
    assert_close(found, in_pytorch(dtype, cell), {"float32": SAME}.get(dtype, BOUND[dtype]))
    return found


def stand_in(patch: pytest.MonkeyPatch, call: Callable[..., Any]) -> None:
    patch.setitem(sys.modules, "jax_triton", SimpleNamespace(triton_call=call))  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("version", "dtype", "cell"),
    [
        *((version, *each) for version in CALLS for each in WRITTEN_INTO),
        *((list(CALLS)[place % 2], *each) for place, each in enumerate(OTHERS)),
    ],
    ids=str,
)
def test_outputs_and_gradients_are_those_of_the_kernels_in_pytorch(
    version: str, dtype: str, cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch, CALLS[version])
    found = compare(dtype, cell)
    assert_close(found, expected(cell, *given(dtype, cell)), BOUND[dtype])


def swapped(names: tuple[str, ...]) -> tuple[str, ...]:
    return (names[1], names[0], *names[2:])


def wrong_order(patch: pytest.MonkeyPatch) -> None:
    """The first two arrays of each kernel stand in each other's places."""
    read = plan.Step.read

    def exchanged(step: plan.Step, arrays: Arrays) -> Arrays:
        found = read(step, arrays)
        return dict(zip(found, [found[name] for name in swapped(tuple(found))], strict=True))

    patch.setattr(plan.Step, "read", exchanged)


def changed_steps(change: Callable[[plan.Step], plan.Step]) -> Callable[[pytest.MonkeyPatch], None]:
    def apply(patch: pytest.MonkeyPatch) -> None:
        perform = jax_attend._perform
        patch.setattr(jax_attend, "_perform", lambda step, arrays: perform(change(step), arrays))

    return apply


def short_grid(step: plan.Step) -> plan.Step:
    return replace(step, grid=(max(1, step.grid[0] - 1), *step.grid[1:]))


def turned_grid(step: plan.Step) -> plan.Step:
    return replace(step, grid=(step.grid[0], step.grid[2], step.grid[1]))


def a_token_less(step: plan.Step) -> plan.Step:
    return replace(step, numbers={name: x - (name == "tokens") for name, x in step.numbers.items()})


def other_heads(step: plan.Step) -> plan.Step:
    return replace(step, constants={name: x * (name != "FIRST") for name, x in step.constants.items()})


def changed_aliases(change: Callable[[dict[int, int]], dict[int, int]]) -> Callable[[pytest.MonkeyPatch], None]:
    def apply(patch: pytest.MonkeyPatch) -> None:
        call = sys.modules["jax_triton"].triton_call

        @functools.wraps(call)
        def changed(*args: Any, input_output_aliases: dict[int, int], **keywords: Any) -> Any:
            return call(*args, input_output_aliases=change(input_output_aliases), **keywords)

        stand_in(patch, changed)

    return apply


def exchanged_outputs(aliases: dict[int, int]) -> dict[int, int]:
    outputs = list(aliases.values())
    return dict(zip(aliases, outputs[1:] + outputs[:1], strict=True))


def wrong_residual(patch: pytest.MonkeyPatch) -> None:
    """The backward pass finds the columns' maxima where their sums should be."""
    backward = plan.backward

    def exchanged(sizes: plan.Sizes, arrays: Arrays, perform: Any) -> Any:
        arrays["top"], arrays["total"] = arrays["total"], arrays["top"]
        return backward(sizes, arrays, perform)

    patch.setattr(plan, "backward", exchanged)


FAULTS = {
    "the first two arrays in each other's places": wrong_order,
    "a program less": changed_steps(short_grid),
    "heads for examples": changed_steps(turned_grid),
    "a token less": changed_steps(a_token_less),
    "the heads of the other kind": changed_steps(other_heads),
    "a statistic for another": wrong_residual,
}
ALIASES = {
    "outputs in each other's memory": changed_aliases(exchanged_outputs),
    "outputs in new memory": changed_aliases(lambda aliases: {}),
}


@pytest.mark.parametrize(
    ("version", "fault"),
    [*(("0.3", fault) for fault in FAULTS), *((version, fault) for version in CALLS for fault in ALIASES)],
)
def test_a_fault_is_caught(version: str, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_pytorch(*FAULTY)  # without the fault
    stand_in(monkeypatch, CALLS[version])
    (FAULTS | ALIASES)[fault](monkeypatch)
    # By name a call says itself that there is an output too many.
    refused = version == "0.4" and fault == "outputs in new memory"
    with pytest.raises(Refused if refused else AssertionError, match="unaliased" if refused else "is off by"):
        compare(*FAULTY)


def test_seeds_side_by_side_equal_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch, CALLS["0.3"])
    rng = np.random.default_rng(0)
    shapes = [(1, 17, 2, 16)] * 3 + [(2, 16, 3), (2, 16)]
    arrays = [jnp.asarray(rng.normal(size=(2, *shape)), "float32") for shape in shapes]

    def loss(q: Any, k: Any, v: Any, *conv: Any) -> Any:
        out = jax_attend.attend_fused(q, k, v, lengths=None, conv=conv, split=1, block_size=16)
        return (out**2).sum()

    gradient = jax.grad(loss, range(5))
    together = jax.jit(jax.vmap(gradient), compiler_options=QUICK_COMPILE)(*arrays)
    alone = jax.jit(gradient, compiler_options=QUICK_COMPILE)(*(each[1] for each in arrays))
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1], b, rtol=1e-6, atol=1e-6)


def test_a_layer_with_that_kernel_takes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from attention_impls.elfatt.jax_impl import _kernels

    stand_in(monkeypatch, CALLS["0.4"])
    dtype, cell = WRITTEN_INTO[0]
    inputs, _ = given(dtype, cell)
    arrays = {name: jnp.asarray(x, dtype) for name, x in (inputs.arrays | inputs.params).items()}
    own: dict[str, Any] = {"params": arrays, "constants": {}, "options": cell.case.options, "dims": inputs.dims}
    call = _kernels(Layer(kernel="jax_triton", lengths=jnp.asarray(inputs.lengths), **own))
    found = call(*(arrays[letter] for letter in "qkv"))
    assert np.abs(found - in_pytorch(dtype, cell)["out"]).max() < 1e-5


def test_where_jax_triton_is_missing_one_line_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    assert CARD.kernel is not None
    monkeypatch.setitem(INSTALLED, ("jax_triton", "jax"), False)
    where: dict[str, Any] = {"backend": "jax", "device": "gpu", "dtype": "bfloat16", "ragged": True}
    with pytest.raises(AttentionError, match=r"pip install 'jax-triton>=0\.3'") as raised:
        CARD.kernel(Options(kernel="jax_triton"), given(*LARGE)[0].dims, **where)
    assert "\n" not in str(raised.value)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "cell"), [*WRITTEN_INTO, *OTHERS, LARGE], ids=str)
def test_on_a_gpu_it_equals_pytorch_and_the_reference(dtype: str, cell: Cell) -> None:
    pytest.importorskip("jax_triton")
    inputs, cotangent = given(dtype, cell)
    found = by_jax(cell, inputs, cotangent, dtype)
    assert_close(found, by_torch(cell, inputs, cotangent, dtype, "cuda"), BOUND[dtype])
    assert_close(found, expected(cell, inputs, cotangent), BOUND[dtype])
