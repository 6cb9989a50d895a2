"""ELFATT in JAX with the Triton kernels of PyTorch, which jax-triton puts into compiled JAX code.

Launches, scratch memory and saved arrays are those of plan.py. This file has the custom derivative and the arguments
for jax-triton's triton_call. Its versions differ:

    0.3   arguments by their places, outputs (`out_shape`) behind them; a kernel that writes into a given array gets it
          twice, as an input and as the output that aliases it
    0.4   arguments by name, outputs (`out_type`) in the places that are left; a kernel gets such an array once

Sources: jax_triton/triton_lib.py of v0.3.1 and v0.4.0. No GPU has run this yet; tests hold it on a CPU, with Triton's
interpreter behind both ways of calling. `--attn.kernel jax_triton` selects it; the default in JAX is Pallas.
"""

from __future__ import annotations

import functools
import inspect
import linecache
from typing import Any

import jax
import jax.numpy as jnp
import triton
import triton.language as tl
from jax import Array
from jaxtyping import Float, Int

from attention_impls.elfatt.triton import plan
from attention_impls.elfatt.triton.plan import STATISTICS, KernelStep, Sizes

Arrays = dict[str, Array]


def attend_fused(
    q: Float[Array, "B N H D"],
    k: Float[Array, "B N H D"],
    v: Float[Array, "B N H D"],
    *,
    lengths: Int[Array, " B"] | None,
    conv: tuple[Float[Array, "H D 3"], Float[Array, "H D"]] | None,
    split: int,
    block_size: int,
) -> Float[Array, "B N H D"]:
    """What `attend` computes in the 1d layout, with heads before `split` global; conv is its weight and bias."""
    batch, tokens, heads, head_dim = q.shape
    sizes = Sizes(
        batch=batch,
        tokens=tokens,
        heads=heads,
        head_dim=head_dim,
        itemsize=q.dtype.itemsize,
        split=split,
        block=min(block_size, tokens),
        strides=(tokens * heads * head_dim, heads * head_dim, head_dim),
        ragged=lengths is not None,
        conv=conv is not None,
    )
    weight, bias = (None, None) if conv is None else conv
    given = {"q": q, "k": k, "v": v, "weight": weight, "bias": bias, "lengths": lengths}
    return _attend(sizes, {name: array for name, array in given.items() if array is not None})


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(sizes: Sizes, given: Arrays) -> Array:
    return _forward(sizes, given)[0]


def _forward(sizes: Sizes, given: Arrays) -> tuple[Array, Arrays]:
    arrays = dict(given)
    plan.forward(sizes, arrays, _perform)
    kept = (*given, *STATISTICS) if sizes.split > 0 else given
    return arrays["out"], {name: arrays[name] for name in kept}


def _backward(sizes: Sizes, kept: Arrays, gradient: Array) -> tuple[dict[str, Array | None]]:
    arrays = kept | {"gradient": gradient}
    taps = plan.backward(sizes, arrays, _perform)
    grads: dict[str, Array | None] = {name: arrays[f"d{name}"] for name in "qkv"}
    if taps:
        found = jnp.concatenate(taps)[..., : sizes.head_dim]
        grads["weight"] = found[:, :3].swapaxes(1, 2).astype(kept["weight"].dtype)
        grads["bias"] = found[:, 3].astype(kept["bias"].dtype)
    return ({name: grads.get(name) for name in kept if name not in STATISTICS},)


_attend.defvjp(_forward, _backward)


def _perform(step: KernelStep, arrays: Arrays) -> None:
    """Call a step's kernel, and put what it writes into the arrays; several seeds, which vmap brings, take turns."""
    q = arrays["q"]
    kinds = [
        jax.ShapeDtypeStruct(q.shape, q.dtype) if shape is None else jax.ShapeDtypeStruct(shape, jnp.float32)
        for shape in step.writes.values()
    ]
    begun = {name: arrays[name] for name, shape in step.writes.items() if shape is None and name in arrays}

    @jax.custom_batching.sequential_vmap
    def call(reads: Arrays, begun: Arrays) -> tuple[Array, ...]:
        return tuple(_triton_call(step, reads, begun, kinds))

    arrays.update(zip(step.writes, call(step.read(arrays), begun), strict=True))


def _triton_call(step: KernelStep, reads: Arrays, begun: Arrays, kinds: list[jax.ShapeDtypeStruct]) -> list[Array]:
    """One kernel; `begun` are arrays that it writes into, by the names of outputs, `kinds` what all outputs are."""
    from jax_triton import triton_call  # pyright: ignore[reportMissingImports]

    order, told = list(step.writes), {**step.numbers, **step.constants}
    # A pytree of names, on its way through vmap, comes back in their alphabet's order.
    reads = {name: reads[name] for name in step.reads}
    begun = {name: begun[name] for name in order if name in begun}
    by_name = "out_type" in inspect.signature(triton_call).parameters
    unseen = () if by_name else tuple(f"begun_{name}" for name in begun)
    kernel = entry(step.kernel, (*unseen, *reads, *order), tuple(told))
    shared = {"kernel": kernel, "grid": step.grid, "num_warps": step.warps, **told}
    if by_name:
        places = [*reads, *begun]
        aliases = {places.index(name): order.index(name) for name in begun}
        return triton_call(out_type=kinds, input_output_aliases=aliases, **reads, **begun, **shared)
    aliases = {place: order.index(name) for place, name in enumerate(begun)}
    return triton_call(*begun.values(), *reads.values(), out_shape=kinds, input_output_aliases=aliases, **shared)


@functools.cache
def entry(kernel: Any, arrays: tuple[str, ...], told: tuple[str, ...]) -> Any:
    """The kernel as jax-triton compiles it: behind parameters in an order that fits, and with all numbers constant.

    jax-triton does not say which numbers 16 divides, without which a GPU would load features one by one. Names in
    `arrays` that the kernel does not have are not looked at. Triton compiles the text of a function, so there is one.
    """
    title, names = kernel.fn.__name__, list(inspect.signature(kernel.fn).parameters)
    listed = [*arrays, *(f"{name}: tl.constexpr" for name in told)]
    lines = [f"def {title}({', '.join(listed)}):\n", f"    start({', '.join(names)})\n"]
    file = f"<{title} of {', '.join(arrays)}>"
    linecache.cache[file] = (sum(map(len, lines)), None, lines, file)
    scope: dict[str, Any] = {"__name__": __name__, "tl": tl, "start": kernel}
    exec(compile("".join(lines), file, "exec"), scope)
    return triton.jit(scope[title])
