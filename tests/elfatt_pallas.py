"""ELFATT's Pallas kernels as an H200 or H100 would hold them: what JAX lowers them to, compiled by Triton.

`python -m tests.elfatt_pallas bfloat16-32-128 …` does so for every kernel of a forward and a backward pass, with
head_dim 32 and blocks of 128, and prints a JSON line for each; no GPU is needed. JAX brings a Triton of its own to a
GPU, which is not the one here: registers and shared memory are near to what it makes, not the same.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch  # noqa: F401 - comes before JAX, as in conftest.py

# isort: split
import jax
from jax._src.pallas.triton import lowering
from jax.sharding import use_abstract_mesh

from attention_impls.elfatt.pallas_attend import attend_fused
from tests.abstract_gpu import h200
from tests.elfatt_kernels import facts, parsed

TOKENS = 4096
WARPS, STAGES = 8, 2  # as pallas_tiles.launch has them


@contextmanager
def modules() -> Iterator[list[tuple[str, str]]]:
    """The name and Triton's code of every kernel that is lowered inside."""
    found: list[tuple[str, str]] = []
    lower = lowering.lower_jaxpr_to_triton_module

    def noted(jaxpr: Any, *more: Any, **options: Any) -> Any:
        made = lower(jaxpr, *more, **options)
        found.append((jaxpr.debug_info.func_name, str(made.module)))
        return made

    lowering.lower_jaxpr_to_triton_module = noted
    try:
        yield found
    finally:
        lowering.lower_jaxpr_to_triton_module = lower


def lowered(dtype: str, head_dim: int, block: int) -> list[tuple[str, str]]:
    """The kernels of a ragged forward and backward pass with the convolution, of one head of each kind."""

    def array(*shape: int, kind: str = dtype) -> Any:
        return jax.ShapeDtypeStruct(shape, kind)

    def both(given: Any, lengths: Any, do: Any) -> Any:
        out, pull = jax.vjp(
            lambda q, k, v, conv: attend_fused(q, k, v, lengths=lengths, conv=conv, split=1, block_size=block), *given
        )
        return out, pull(do)

    tokens = array(2, TOKENS, 2, head_dim)
    given = (tokens, tokens, tokens, (array(2, head_dim, 3), array(2, head_dim)))
    with modules() as found, use_abstract_mesh(h200()):
        jax.jit(both).trace(given, array(2, kind="int32"), tokens).lower(lowering_platforms=("cuda",))
    return found


def compiled(name: str, code: str) -> dict[str, Any]:
    """What a kernel's code holds: shared memory, and registers spilt to local memory, in bytes."""
    import triton
    from triton.backends.compiler import GPUTarget

    with tempfile.NamedTemporaryFile("w", suffix=".ttir", encoding="utf-8") as file:
        file.write(code)
        file.flush()
        options = {"num_warps": WARPS, "num_stages": STAGES}
        return facts(name, triton.compile(file.name, target=GPUTarget("cuda", 90, 32), options=options))


if __name__ == "__main__":
    for cell in sys.argv[1:]:
        for each in lowered(*parsed(cell)):
            print(json.dumps({"cell": cell, **compiled(*each)}), flush=True)
