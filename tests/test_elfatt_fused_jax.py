"""ELFATT's Pallas kernels against float64: in the interpreter on a CPU, on a GPU; their lowering without one."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from attention_cases import QUICK_COMPILE, Arrays, Case, Inputs, cotangent_for, dims_for, draw, gradients, reference

from attention_impls.elfatt import Options, global_heads
from attention_impls.elfatt.kernels import kernel_used
from attention_impls.ops.local_conv import BIAS, WEIGHT

jax = pytest.importorskip("jax")
jnp = jax.numpy
attend_fused = pytest.importorskip("attention_impls.elfatt.pallas_attend").attend_fused

BOUND = {"float32": 5e-6, "bfloat16": 2e-2}
# Three TF32 products keep 22 bits of 24, and a GPU's exponential loses one more for each doubling of its argument.
ON_A_GPU = {"float32": 2e-5, "bfloat16": 2e-2}
# Tokens, lengths, features of a head, dtype, options. Together they meet every path: one tile and several to a block, a
# short last block, blocks and splits without a real token, either kind of head alone, with and without a convolution.
CELLS = [
    (1, None, 16, "float32", Options(block_size=16)),
    (63, (63, 0, 1), 32, "bfloat16", Options(block_size=16)),
    (64, None, 128, "bfloat16", Options(block_size=512, global_share=1.0, local_conv=False)),
    (65, (65, 64), 16, "float32", Options(block_size=24, global_share=0.0)),
    (129, (1, 129), 64, "float32", Options(block_size=128, global_share=0.34)),
    (300, (300, 127), 16, "bfloat16", Options(block_size=200)),
    (1000, (640, 1000), 16, "float32", Options(block_size=512, local_conv=False)),
]
# Each border of a tile, a block and a split, each size of a head and each size of a block, once in each dtype.
MANY = [
    (1, None, 16, "float32", Options(block_size=512)),
    (63, (63, 0, 1, 31), 32, "float32", Options()),
    (64, None, 64, "float32", Options(block_size=16)),
    (65, (65, 32), 128, "float32", Options(block_size=200)),
    (127, None, 32, "float32", Options(local_conv=False)),
    (129, (129, 0, 1, 64), 16, "float32", Options(block_size=512)),
    (300, None, 64, "float32", Options(block_size=16)),
    (64, (64, 32), 128, "bfloat16", Options(block_size=200)),
    (65, None, 64, "bfloat16", Options()),
    (127, (127, 63), 16, "bfloat16", Options(block_size=512, local_conv=False)),
    (129, (129, 0, 1, 64), 32, "bfloat16", Options(block_size=16)),
    (300, (300, 150), 128, "bfloat16", Options(block_size=200)),
    (1000, (1000, 500), 32, "bfloat16", Options()),
    (4096, None, 16, "bfloat16", Options()),
]
# On a GPU also every length in every block, and lengths that take the interpreter minutes: many splits of the length,
# many blocks, and both beside a short and an empty example.
EVERY = [
    (tokens, lengths, head_dim, dtype, Options(block_size=block, local_conv=tokens != 127))
    for tokens, (head_dim, block), dtype in itertools.product(
        (1, 63, 64, 65, 127, 129, 300, 1000), ((16, 512), (32, 128), (64, 16), (128, 200)), BOUND
    )
    for lengths in ((None, (tokens, 0, 1, tokens // 2)) if dtype == "float32" else ((tokens, tokens // 2),))
]
LARGE = [
    (65536, None, 16, "bfloat16", Options()),
    (4097, (4097, 0, 1, 2500), 64, "float32", Options()),
    (16384, (16384, 0, 9001), 32, "bfloat16", Options(block_size=256)),
    (65536, (65536, 0, 40001), 128, "bfloat16", Options()),
]
# The composition is compiled for nothing in PyTorch; parity holds that both frameworks' are one function.
COMPOSED = "torch" if find_spec("torch") else "jax"


def named(cells: Sequence[Any]) -> list[Any]:
    return [
        pytest.param(*cell, id=f"{cell[0]}-{cell[1]}-{cell[2]}-{cell[3]}-{Case('elfatt', cell[4])}") for cell in cells
    ]


def rounded(inputs: Inputs, dtype: str) -> Inputs:
    """The same inputs after a rounding to `dtype`, in float64."""

    def near(arrays: Arrays) -> Arrays:
        return {name: np.asarray(jnp.asarray(x, dtype).astype("float32"), np.float64) for name, x in arrays.items()}

    return replace(inputs, arrays=near(inputs.arrays), params=near(inputs.params))


def fused(case: Case, inputs: Inputs, cotangent: np.ndarray, dtype: str, interpret: bool) -> tuple[np.ndarray, Arrays]:
    """Output and gradients by the kernels."""
    lengths = None if inputs.lengths is None else jnp.asarray(inputs.lengths)
    options: dict[str, Any] = {
        "split": global_heads(case.options, inputs.dims),
        "block_size": case.options.block_size,
        "interpret": interpret,
    }

    def call(given: dict[str, Any], params: dict[str, Any], weight: Any) -> Any:
        def attend(given: dict[str, Any], params: dict[str, Any]) -> Any:
            conv = (params[WEIGHT], params[BIAS]) if params else None
            return attend_fused(**given, lengths=lengths, conv=conv, **options)

        out, pull = jax.vjp(attend, given, params)
        return out, pull(weight)

    parts = ({name: jnp.asarray(x, dtype) for name, x in arrays.items()} for arrays in (inputs.arrays, inputs.params))
    compiled = jax.jit(call, compiler_options=QUICK_COMPILE if interpret else None)
    out, (by_input, by_param) = compiled(*parts, jnp.asarray(cotangent, dtype))
    assert out.dtype == jnp.dtype(dtype)
    return np.asarray(out.astype("float32")), {
        name: np.asarray(grad.astype("float32")) for name, grad in (by_input | by_param).items()
    }


def worst(found: np.ndarray, expected: np.ndarray) -> float:
    """max|a − b| / max|b| of the worst head; where b vanishes (a softmax over one key has no gradient) max|a − b|."""
    axis = 2 if expected.ndim == 4 else 0
    heads = (np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for x in (found, expected))
    largest = [(np.abs(a - b).max(), np.abs(b).max()) for a, b in zip(*heads, strict=True)]
    return float(np.max([wrong if scale < 1e-12 else wrong / scale for wrong, scale in largest]))


def poisoned(inputs: Inputs, cotangent: np.ndarray) -> tuple[Inputs, np.ndarray]:
    """NaN in every padded row of q, k, v and of the output's gradient."""
    if inputs.lengths is None:
        return inputs, cotangent
    tokens = cotangent.shape[1]
    return inputs.padded_to(tokens, np.nan), replace(inputs, arrays={"do": cotangent}).padded_to(tokens, np.nan).arrays[
        "do"
    ]


def hold(
    tokens: int, lengths: tuple[int, ...] | None, head_dim: int, dtype: str, options: Options, interpret: bool
) -> None:
    case = Case("elfatt", options)
    heads, batch = (3, 2) if options.global_share == 0.34 else (2, 1 if lengths is None else 2)
    dims = dims_for(max(tokens, 64), heads=heads, head_dim=head_dim)
    inputs = rounded(draw(case, tokens, lengths, batch=batch, dims=dims), dtype)
    cotangent = np.asarray(jnp.asarray(cotangent_for(inputs), dtype).astype("float32"), np.float64)
    _, expected = gradients(case, COMPOSED, inputs, cotangent)
    out, found = fused(case, *poisoned(inputs, cotangent), dtype, interpret)
    errors = {"out": worst(out, reference(case, inputs))}
    errors |= {name: worst(found[name], gradient) for name, gradient in expected.items()}
    assert max(errors.values()) < (BOUND if interpret else ON_A_GPU)[dtype], errors


@pytest.mark.parametrize(("tokens", "lengths", "head_dim", "dtype", "options"), named(CELLS))
def test_the_kernels_compute_the_formula_and_its_gradients(
    tokens: int, lengths: tuple[int, ...] | None, head_dim: int, dtype: str, options: Options
) -> None:
    hold(tokens, lengths, head_dim, dtype, options, interpret=True)


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "lengths", "head_dim", "dtype", "options"), named(MANY))
def test_they_do_at_many_sizes(
    tokens: int, lengths: tuple[int, ...] | None, head_dim: int, dtype: str, options: Options
) -> None:
    hold(tokens, lengths, head_dim, dtype, options, interpret=True)


@pytest.mark.gpu
@pytest.mark.parametrize(("tokens", "lengths", "head_dim", "dtype", "options"), named([*CELLS, *EVERY, *LARGE]))
def test_they_do_on_a_gpu(
    tokens: int, lengths: tuple[int, ...] | None, head_dim: int, dtype: str, options: Options
) -> None:
    hold(tokens, lengths, head_dim, dtype, options, interpret=False)


def seeds(*, interpret: bool = True) -> tuple[list[Any], Any]:
    """Arguments of three seeds, q, k, v, weight and bias, and what calls the kernels on one of them."""
    rng = np.random.default_rng(0)
    arrays = [jnp.asarray(rng.normal(size=(3, 2, 20, 2, 16)), "float32") for _ in "qkv"]
    arrays += [jnp.asarray(rng.normal(size=(3, 2, 16, *rest)), "float32") for rest in ((3,), ())]

    def loss(q: Any, k: Any, v: Any, *conv: Any) -> Any:
        lengths = jnp.array([20, 7])
        out = attend_fused(q, k, v, lengths=lengths, conv=conv, split=1, block_size=16, interpret=interpret)
        return (out**2).sum()

    return arrays, loss


def test_seeds_side_by_side_equal_one_after_the_other() -> None:
    arrays, loss = seeds()
    gradient = jax.grad(loss, range(5))
    together = jax.jit(jax.vmap(gradient), compiler_options=QUICK_COMPILE)(*arrays)
    one = jax.jit(gradient, compiler_options=QUICK_COMPILE)
    alone = [jnp.stack(found) for found in zip(*(one(*given) for given in zip(*arrays, strict=True)), strict=True)]
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)  # what float32 makes of another order of sums


def test_extreme_inputs_stay_finite() -> None:
    (q, k, v, *conv), loss = seeds()
    big = [1e4 * x[0] for x in (q, k, v)]
    value, grads = jax.jit(jax.value_and_grad(loss, range(5)), compiler_options=QUICK_COMPILE)(
        *big, *(x[0] for x in conv)
    )
    assert np.isfinite(value)
    assert all(np.isfinite(grad).all() for grad in grads)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("head_dim", "block"), [(32, 128), (64, 128)])
def test_the_kernels_lower_for_a_gpu_and_nothing_else_touches_the_tokens(dtype: str, head_dim: int, block: int) -> None:
    tokens = jax.ShapeDtypeStruct((2, 1000, 2, head_dim), dtype)
    conv = (jax.ShapeDtypeStruct((2, head_dim, 3), dtype), jax.ShapeDtypeStruct((2, head_dim), dtype))
    lengths = jax.ShapeDtypeStruct((2,), "int32")

    def forward(q: Any, k: Any, v: Any, conv: Any, lengths: Any) -> Any:
        return attend_fused(q, k, v, lengths=lengths, conv=conv, split=1, block_size=block)

    def backward(q: Any, k: Any, v: Any, conv: Any, lengths: Any, do: Any) -> Any:
        out, pull = jax.vjp(partial(forward, lengths=lengths), q, k, v, conv)
        return out, pull(do)

    given = (tokens, tokens, tokens, conv, lengths)
    for function, arguments, expected in (
        (forward, given, 3),
        (backward, (*given, tokens), 6 if dtype == "bfloat16" else 7),
    ):
        module = lowered(function, arguments)
        element = {"float32": "f32", "bfloat16": "bf16"}[dtype]
        assert len(re.findall(r"custom_call.*xla\.gpu\.triton", module)) == expected
        writers = re.findall(rf"= (\S+).*-> .*tensor<2x1000x2x{head_dim}x{element}>", module)
        assert set(writers) == {"stablehlo.custom_call"}


def test_seeds_side_by_side_lower_for_a_gpu_too() -> None:
    arrays, loss = seeds(interpret=False)
    module = lowered(jax.vmap(jax.grad(loss, range(5))), arrays)
    assert len(re.findall(r"custom_call.*xla\.gpu\.triton", module)) == 6  # for all seeds as many as for one


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "fused"),
        ({"kernel": "composed"}, "composed"),
        ({"device": "cpu"}, "composed"),
        ({"dtype": "float64"}, "composed"),
        ({"head_dim": 24}, "composed"),
        ({"head_dim": 8}, "composed"),
        ({"layout": "2d"}, "composed"),
        ({"installed": False}, "composed"),
    ],
    ids=str,
)
def test_jax_takes_the_fused_kernels_where_they_fit(changes: dict[str, Any], name: str) -> None:
    usual: dict[str, Any] = {"kernel": "auto", "backend": "jax", "device": "gpu", "dtype": "float32", "head_dim": 32}
    usual |= {"block_size": 128, "layout": "1d", "installed": True}
    assert kernel_used(**usual | changes) == name


def test_attend_takes_the_kernels_on_a_gpu_and_not_on_the_cpu_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    case, dims = Case("elfatt", Options()), dims_for(64, heads=2, head_dim=16)
    inputs = draw(case, 64, (64, 3), dims=dims)
    arrays = {name: jnp.asarray(x, "float32") for name, x in (inputs.arrays | inputs.params).items()}

    def forward(q: Any, k: Any, v: Any, params: dict[str, Any]) -> Any:
        given = {"params": params, "constants": {}, "options": case.options, "dims": dims}
        return case.mechanism.attend("jax")(q, k, v, lengths=jnp.array([64, 3]), **given)

    given = (*(arrays.pop(letter) for letter in "qkv"), arrays)
    assert lowered(forward, given).count("@__gpu$xla.gpu.triton") == 3
    assert "xla.gpu.triton" not in lowered(forward, given, "cpu")


def lowered(function: Any, arguments: Any, platform: str = "cuda") -> str:
    """The module for a platform; for an NVIDIA GPU JAX only lowers Pallas where it knows which one."""
    from jax.sharding import use_abstract_mesh

    from tests.abstract_gpu import h200

    with use_abstract_mesh(h200()):
        return jax.jit(function).trace(*arguments).lower(lowering_platforms=(platform,)).as_text()
