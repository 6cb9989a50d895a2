"""ELFATT's Triton kernels as jax-triton itself compiles them for compute capability 9.0, on a machine without a GPU.

`python -m tests.elfatt_lowered bfloat16-32-128 …` needs jax-triton and JAX's CUDA plugin, and prints a JSON line for
each cell: how many kernels compiled JAX code calls in a forward and a backward pass, and what of their outputs lies in
the memory of an input.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import torch  # noqa: F401 - comes before JAX, as in conftest.py

# isort: split
import jax
from jax_triton import triton_lib  # pyright: ignore[reportMissingImports]

from attention_impls.elfatt.triton.jax_attend import attend_fused
from tests.elfatt_kernels import parsed


class Hopper:
    """What jax-triton asks of JAX's CUDA plugin, which finds no GPU to ask for its compute capability."""

    def __init__(self, plugin: Any) -> None:
        self.plugin = plugin

    def __getattr__(self, name: str) -> Any:
        return getattr(self.plugin, name)

    def get_compute_capability(self, device: int) -> int:
        """9.0."""
        return 90


def module(dtype: str, head_dim: int, block: int) -> str:
    """The code for a GPU of a ragged forward and backward pass with the convolution, one head of each kind."""
    tokens = jax.ShapeDtypeStruct((2, 1000, 2, head_dim), dtype)
    conv = (jax.ShapeDtypeStruct((2, head_dim, 3), dtype), jax.ShapeDtypeStruct((2, head_dim), dtype))

    def both(given: Any, lengths: Any, do: Any) -> Any:
        out, pull = jax.vjp(
            lambda q, k, v, conv: attend_fused(q, k, v, lengths=lengths, conv=conv, split=1, block_size=block), *given
        )
        return out, pull(do)

    given = ((tokens, tokens, tokens, conv), jax.ShapeDtypeStruct((2,), "int32"), tokens)
    return jax.jit(both).trace(*given).lower(lowering_platforms=("cuda",)).as_text()


if __name__ == "__main__":
    triton_lib.triton_kernel_call_lib = Hopper(triton_lib.triton_kernel_call_lib)
    for cell in sys.argv[1:]:
        text = module(*parsed(cell))
        calls = re.findall(r"custom_call @triton_kernel_call.*", text)
        aliased = sum(line.count("output_operand_alias<") for line in calls)
        print(json.dumps({"cell": cell, "calls": len(calls), "aliased": aliased}), flush=True)
