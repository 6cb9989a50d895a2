"""ELFATT's Triton kernels as the tests see them: what is launched, and what an H200's or H100's code would hold.

`python -m tests.elfatt_kernels torch bfloat16-32-128 …` compiles every kernel of a forward and a backward pass for
compute capability 9.0, with head_dim 32 and blocks of 128, and prints a JSON line for each; no GPU is needed. With
jax_triton in place of torch they are those that jax-triton is given.
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

from attention_impls.elfatt.triton import torch_attend
from attention_impls.elfatt.triton.plan import ABSENT, Arrays, Step
from attention_impls.elfatt.triton.torch_attend import attend_fused

TOKENS = 4096


@dataclass(frozen=True)
class Launch:
    """A step with what its kernel was given."""

    step: Step
    arrays: Arrays

    @property
    def tensors(self) -> list[Tensor]:
        """What stands behind its pointers, without what only fills the place of an array that is missing."""
        return [x for name, x in self.arrays.items() if name not in ABSENT or x.ndim < 4]


@contextmanager
def recorded(*, run: bool) -> Iterator[list[Launch]]:
    """The launches that happen inside; unless `run`, they only seem to."""
    launches: list[Launch] = []
    start = torch_attend.launch

    def record(step: Step, arrays: Arrays) -> None:
        launches.append(Launch(step, arrays))
        if run:
            start(step, arrays)

    torch_attend.launch = record
    try:
        yield launches
    finally:
        torch_attend.launch = start


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


def for_jax(launch: Launch) -> Any:
    """The kernel of a launch as jax-triton is given it, where nothing is there to be written into."""
    from attention_impls.elfatt.triton.jax_attend import entry

    step = launch.step
    return entry(step.kernel, (*step.reads, *step.writes), (*step.numbers, *step.constants))


def compiled(launch: Launch, way: str) -> dict[str, Any]:
    """What the code of a launch holds: shared memory, and registers spilt to local memory, in bytes."""
    from triton.backends.compiler import GPUTarget
    from triton.runtime import driver

    target = GPUTarget("cuda", 90, 32)
    stub = {"get_current_target": lambda: target, "get_current_device": lambda: 0, "get_current_stream": lambda _: 0}
    driver.set_active(SimpleNamespace(**stub))  # pyright: ignore[reportArgumentType]
    step, kernel = launch.step, for_jax(launch) if way == "jax_triton" else launch.step.kernel
    told = {**step.numbers, **step.constants, "num_warps": step.warps}
    return facts(step.kernel.__name__, kernel.warmup(**launch.arrays, **told, grid=step.grid))


def facts(name: str, made: Any) -> dict[str, Any]:
    """The same of a kernel that Triton has compiled."""
    said = _assembled(made.asm["ptx"])
    spilt = re.search(r"(\d+) bytes spill stores", said)
    assert spilt is not None, said
    target = re.findall(r"^\.target (\w+)", made.asm["ptx"], re.MULTILINE)
    wide = len(re.findall(r"ld\.global\S*\.v[248]\.", made.asm["ptx"]))
    return {"kernel": name, "shared": made.metadata.shared, "spilt": int(spilt[1]), "target": target, "wide": wide}


def _assembled(ptx: str) -> str:
    """What NVIDIA's assembler, which Triton brings, says about a program."""
    from triton import knobs

    with tempfile.NamedTemporaryFile("w", suffix=".ptx", encoding="utf-8") as file:
        file.write(ptx)
        file.flush()
        words = [knobs.nvidia.ptxas.path, "-v", "--gpu-name=sm_90a", file.name, "-o", "/dev/null"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stderr


def parsed(cell: str) -> tuple[str, int, int]:
    """bfloat16-32-128 -> its dtype, features of a head and tokens of a block."""
    dtype, head_dim, block = cell.split("-")
    return dtype, int(head_dim), int(block)


if __name__ == "__main__":
    for cell in sys.argv[2:]:
        dtype, head_dim, block = parsed(cell)
        for launches in planned(getattr(torch, dtype), head_dim, block, 2, 1):
            for each in launches:
                print(json.dumps({"cell": cell, **compiled(each, sys.argv[1])}), flush=True)
