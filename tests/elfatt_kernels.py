"""ELFATT's Triton kernels as the tests see them: what is launched, and what an H200's or H100's code would hold.

`python -m tests.elfatt_kernels bfloat16 32 128` compiles every kernel of a forward and a backward pass for compute
capability 9.0, with head_dim 32 and blocks of 128, and prints a JSON line for each; no GPU is needed.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from attention_impls.elfatt import triton_launch
from attention_impls.elfatt.triton_attend import attend_fused

TOKENS = 4096


@dataclass(frozen=True)
class Launch:
    """A kernel with its grid, arguments and constants."""

    kernel: Any
    grid: tuple[int, int, int]
    arguments: tuple
    constants: dict[str, Any]

    @property
    def tensors(self) -> list[Tensor]:
        return [x for x in self.arguments if isinstance(x, Tensor)]


@contextmanager
def recorded(*, run: bool) -> Iterator[list[Launch]]:
    """The launches that happen inside; unless `run`, they only seem to."""
    launches: list[Launch] = []
    start = triton_launch.launch

    def record(kernel: Any, grid: tuple[int, int, int], *arguments: Any, **constants: Any) -> None:
        launches.append(Launch(kernel, grid, arguments, constants))
        if run:
            start(kernel, grid, *arguments, **constants)

    triton_launch.launch = record
    try:
        yield launches
    finally:
        triton_launch.launch = start


def planned(dtype: torch.dtype, head_dim: int, block: int, heads: int, global_heads: int) -> list[list[Launch]]:
    """The launches of a ragged forward and of its backward pass with the convolution; nothing is allocated."""

    def tensor(*shape: int) -> Tensor:
        return torch.empty(shape, dtype=dtype, device="meta", requires_grad=True)

    q, k, v = (tensor(2, TOKENS, heads, head_dim) for _ in range(3))
    conv = (tensor(heads, head_dim, 3), tensor(heads, head_dim))
    lengths = torch.empty(2, dtype=torch.int32, device="meta")
    with recorded(run=False) as forward:
        out = attend_fused(q, k, v, lengths=lengths, conv=conv, global_heads=global_heads, block_size=block)
    with recorded(run=False) as backward:
        out.backward(torch.empty_like(out))
    return [forward, backward]


def compiled(launch: Launch) -> dict[str, Any]:
    """What the code of a launch holds: shared memory, and registers spilt to local memory, in bytes."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    target = GPUTarget("cuda", 90, 32)
    stub = {"get_current_target": lambda: target, "get_current_device": lambda: 0, "get_current_stream": lambda _: 0}
    driver.set_active(SimpleNamespace(**stub))  # pyright: ignore[reportArgumentType]
    made = launch.kernel.warmup(*launch.arguments, grid=launch.grid, **launch.constants)
    return facts(launch.kernel.__name__, made)


def facts(name: str, made: Any) -> dict[str, Any]:
    """The same of a kernel that Triton has compiled."""
    said = _assembled(made.asm["ptx"])
    spilt = re.search(r"(\d+) bytes spill stores", said)
    assert spilt is not None, said
    target = re.findall(r"^\.target (\w+)", made.asm["ptx"], re.MULTILINE)
    return {"kernel": name, "shared": made.metadata.shared, "spilt": int(spilt[1]), "target": target}


def _assembled(ptx: str) -> str:
    """What NVIDIA's assembler, which Triton brings, says about a program."""
    from triton import knobs

    with tempfile.NamedTemporaryFile("w", suffix=".ptx", encoding="utf-8") as file:
        file.write(ptx)
        file.flush()
        words = [knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stderr


if __name__ == "__main__":
    for launches in planned(getattr(torch, sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), 2, 1):
        for each in launches:
            print(json.dumps(compiled(each)), flush=True)
