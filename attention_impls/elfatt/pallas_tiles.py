"""The common parts of ELFATT's Pallas kernels: sizes, a launch, masked tiles of rows, the taps of the convolution.

The kernels use Pallas' Triton route (jax.experimental.pallas.triton). Its rules shape them: every array inside one has
a power of two of elements, and products are two-dimensional with sides of at least 16. A reference may be indexed
anywhere. So q, k and v are read in place from (B, N, H, D). An index map picks the example and the head, the kernel
its rows.

JAX deprecates this route since 0.11; 0.12 still has it. JAX names two others. In Mosaic GPU, a kernel states the copies
and the product instructions of one generation of GPUs. jax-triton is for kernels in Triton's own language.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Bool, Float, Int, Shaped

Ref = Any
"""A kernel's reference to an array in memory, which JAX types as a tracer."""
Conv = tuple[Array, Array] | tuple[()]
"""Weight (H, D, 3) and bias (H, D) of the convolution, or nothing where it is off."""

LOWEST = float(jnp.finfo(jnp.float32).min)


@dataclass(frozen=True)
class TilePlan:
    """The sizes of one call, all static. Heads before `split` are global, the others attend inside blocks."""

    batch: int
    tokens: int
    heads: int
    head_dim: int
    itemsize: int
    split: int
    block: int
    interpret: bool

    @property
    def tile(self) -> int:
        """Rows of a tile in block heads: a whole block where it fits."""
        return min(self._rows, _sides(self.block))

    @property
    def parts(self) -> int:
        """Tiles of a block."""
        return pl.cdiv(self.block, self.tile)

    @property
    def blocks(self) -> int:
        """Blocks of the sequence, a short last one included."""
        return pl.cdiv(self.tokens, self.block)

    @property
    def band(self) -> int:
        """Rows of a tile in global heads."""
        return min(self._rows, _sides(self.tokens))

    @property
    def bands(self) -> int:
        """Tiles that cover the sequence in global heads."""
        return pl.cdiv(self.tokens, self.band)

    @property
    def steps(self) -> int:
        """Tiles of a split of the sequence, 8·D rows: its (D, D) partial sum is then small beside what it reads."""
        return max(1, 8 * self.head_dim // self.band)

    @property
    def splits(self) -> int:
        """Splits of the sequence."""
        return pl.cdiv(self.bands, self.steps)

    @property
    def _rows(self) -> int:
        """Rows of a full tile, 128 at most: the wider a row, the fewer leave the backward pass its registers."""
        return 128 * 64 // max(64, self.head_dim) // (self.itemsize // 2)

    def tokens_spec(self, first: int) -> pl.BlockSpec:
        """All rows of one head of one example in (B, N, H, D); programs (i, h, b) take head first + h."""
        return pl.BlockSpec((None, self.tokens, None, self.head_dim), lambda i, h, b: (b, 0, first + h, 0))

    def conv_spec(self, first: int, conv: Conv) -> tuple[pl.BlockSpec, ...]:
        """The taps and the bias of that head."""
        sizes = (None, self.head_dim)
        both = (
            pl.BlockSpec((*sizes, 3), lambda i, h, b: (first + h, 0, 0)),
            pl.BlockSpec(sizes, lambda i, h, b: (first + h, 0)),
        )
        return both[: len(conv)]


def _sides(rows: int) -> int:
    """The power of two, 16 at least, that holds that many rows."""
    return max(16, pl.next_power_of_2(rows))


LENGTH_SPEC = pl.BlockSpec((None,), lambda i, h, b: (b,))


def own_spec(*shape: int) -> pl.BlockSpec:
    """What program (i, h, b) alone has of an array (B, h, programs, *shape)."""
    return pl.BlockSpec((None, None, None, *shape), lambda i, h, b: (b, h, i, *(0 for _ in shape)))


def head_spec(*shape: int) -> pl.BlockSpec:
    """What all programs of head h of example b share of an array (B, h, *shape)."""
    return pl.BlockSpec((None, None, *shape), lambda i, h, b: (b, h, *(0 for _ in shape)))


def launch(
    kernel: Callable[..., None],
    plan: TilePlan,
    grid: tuple[int, int, int],
    given: Sequence[tuple[Any, Any]],
    results: Sequence[tuple[Any, pl.BlockSpec]],
) -> list[Array]:
    """Run kernel(plan, *given, *results) on every program (i, head, example) of the grid.

    `given` has (array or tuple of arrays, their specs). `results` has (shape and dtype, spec). An array instead of a
    shape is written into, and keeps its values where no program writes.
    """
    arrays, specs = zip(*given, strict=True)
    shapes, result_specs = zip(*results, strict=True)
    present = [i for i, shape in enumerate(shapes) if isinstance(shape, Array)]
    first = len(jax.tree.leaves(arrays))

    @functools.wraps(kernel)
    def body(refs: tuple[Any, ...], aliased: tuple[Ref, ...], *written: Ref) -> None:
        kernel(plan, *refs, *written)

    call = pl.pallas_call(
        body,
        [jax.ShapeDtypeStruct(shape.shape, shape.dtype) for shape in shapes],
        grid=grid,
        in_specs=(specs, tuple(result_specs[i] for i in present)),
        out_specs=list(result_specs),
        input_output_aliases={first + j: i for j, i in enumerate(present)},
        compiler_params=plgpu.CompilerParams(num_warps=8, num_stages=2),
        interpret=plan.interpret,
    )
    return list(call(arrays, tuple(shapes[i] for i in present)))


def load_rows(ref: Ref, rows: Int[Array, " T"], seen: Bool[Array, " T"]) -> Shaped[Array, "T D"]:
    """Rows of a reference (N, D) in its dtype, zeros where `seen` is false; unseen rows may lie outside."""
    tokens, features = ref.shape
    index = jnp.clip(rows, 0, tokens - 1)[:, None], jnp.arange(features, dtype=jnp.int32)[None]
    return plgpu.load(ref.at[index], mask=jnp.broadcast_to(seen[:, None], (len(rows), features)), other=0.0)


def store_rows(ref: Ref, start: Any, values: Float[Array, "T D"], seen: Bool[Array, " T"]) -> None:
    """Write rows start, start + 1, … of a reference (N, D) where `seen` is true."""
    where = ref.at[pl.ds(start, len(values)), :]
    plgpu.store(where, values.astype(ref.dtype), mask=jnp.broadcast_to(seen[:, None], values.shape))


def zeros(*shape: int) -> Float[Array, "*shape"]:
    """Zeros in float32, the dtype of every sum, whatever JAX's default is."""
    return jnp.zeros(shape, jnp.float32)


def dot(
    plan: TilePlan, a: Float[Array, "a b"], b: Float[Array, "c d"], over: tuple[int, int] = (1, 0)
) -> Float[Array, "e f"]:
    """The product over one axis of each, accumulated in float32.

    Three TF32 products give float32 operands their precision on tensor cores; only the Triton route has them.
    """
    precision = jax.lax.Precision.HIGHEST
    if not plan.interpret and a.dtype == jnp.float32:
        precision = jax.lax.DotAlgorithmPreset.TF32_TF32_F32_X3
    axes = (((over[0],), (over[1],)), ((), ()))
    return jax.lax.dot_general(a, b, axes, precision=precision, preferred_element_type=jnp.float32)


def softmax(x: Float[Array, "T D"]) -> Float[Array, "T D"]:
    """Softmax of each row, in float32."""
    x = x.astype(jnp.float32)
    x = jnp.exp(x - x.max(1)[:, None])
    return x / x.sum(1)[:, None]


Triple = tuple[Float[Array, "T D"], Float[Array, "T D"], Float[Array, "T D"]]


def neighbours(ref: Ref, rows: Int[Array, " T"], first: Any, end: Any) -> Triple:
    """Rows i − 1, i and i + 1 of a reference in float32, zeros outside first … end − 1; a cache has two of them."""
    shifted = [rows + shift for shift in (-1, 0, 1)]
    before, here, after = (load_rows(ref, at, (first <= at) & (at < end)).astype(jnp.float32) for at in shifted)
    return before, here, after


def taps(conv: Sequence[Ref]) -> list[Float[Array, " D"]]:
    """The three taps of the convolution in one head, in float32."""
    return [conv[0][:, i].astype(jnp.float32) for i in range(3)]


def convolve(conv: Sequence[Ref], v: Ref, rows: Int[Array, " T"], first: Any, end: Any) -> Float[Array, "T D"]:
    """L(V)[i] = w₀ v[i − 1] + w₁ v[i] + w₂ v[i + 1] + β."""
    total = conv[1][...].astype(jnp.float32)
    for weight, row in zip(taps(conv), neighbours(v, rows, first, end), strict=True):
        total = total + weight * row
    return total


def convolve_back(conv: Sequence[Ref], nearby: Triple, v: Float[Array, "T D"], sums: Ref) -> Float[Array, "T D"]:
    """Lᵀ(dO) of a tile, from rows `i − 1, i, i + 1` of dO. Its part of dw₀, dw₁, dw₂ and dβ goes into `sums` (4, D)."""
    before, here, after = nearby
    total = jnp.zeros_like(here)
    for i, (weight, row) in enumerate(zip(taps(conv), (after, here, before), strict=True)):
        total = total + weight * row
        sums[i, :] = (v.astype(jnp.float32) * row).sum(0)
    sums[3, :] = here.sum(0)
    return total


def conv_sums(plan: TilePlan, conv: Conv, programs: int, heads: int) -> list[tuple[Any, pl.BlockSpec]]:
    """The result that `convolve_back` adds to, (B, h, programs, 4, D), or none without a convolution."""
    shape = (plan.batch, heads, programs, 4, plan.head_dim)
    return [(jax.ShapeDtypeStruct(shape, jnp.float32), own_spec(4, plan.head_dim))] if conv else []


def clear_sums(sums: Sequence[Ref]) -> None:
    """The same for a tile without a real row."""
    for ref in sums:
        ref[...] = zeros(*ref.shape)


def added(sums: Sequence[Array]) -> Float[Array, "h 4 D"] | None:
    """All programs' parts together."""
    return sums[0].sum((0, 2)) if sums else None
