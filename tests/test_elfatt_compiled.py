"""What ELFATT's kernels become on an H100 or H200, compiled without one: no spills, and room in the shared memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("triton", reason="Triton is for Linux")

pytestmark = pytest.mark.slow
SHARED_MEMORY = 227 * 1024  # bytes that one program can have on compute capability 9.0


def compiled_for_hopper(module: str, dtype: str, head_dim: int, block: int, cache: Path) -> list[dict[str, Any]]:
    """What a module of the tests says of each kernel, in a process whose Triton compiles."""
    words = [sys.executable, "-m", f"tests.{module}", dtype, str(head_dim), str(block)]
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    root = Path(__file__).parents[1]
    done = subprocess.run(words, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    for each in kernels:
        assert each["target"] == ["sm_90a"]
        assert each["shared"] <= SHARED_MEMORY, each
    return kernels


@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_triton_spills_no_registers(dtype: str, head_dim: int, tmp_path: Path) -> None:
    kernels = compiled_for_hopper("elfatt_kernels", dtype, head_dim, 128, tmp_path)
    assert len(kernels) == (7 if dtype == "bfloat16" else 8)
    assert [each for each in kernels if each["spilt"]] == []


@pytest.mark.parametrize(("dtype", "head_dim"), [("bfloat16", 128), ("bfloat16", 64), ("float32", 64)])
def test_the_largest_tiles_of_triton_fit(dtype: str, head_dim: int, tmp_path: Path) -> None:
    assert len(compiled_for_hopper("elfatt_kernels", dtype, head_dim, 512, tmp_path)) == 8


@pytest.mark.parametrize(
    ("dtype", "head_dim", "block"),
    [("bfloat16", 32, 128), ("bfloat16", 64, 128), ("bfloat16", 128, 512), ("float32", 32, 128), ("float32", 64, 512)],
)
def test_what_pallas_lowers_to_compiles_and_fits(dtype: str, head_dim: int, block: int, tmp_path: Path) -> None:
    pytest.importorskip("jax")
    kernels = compiled_for_hopper("elfatt_pallas", dtype, head_dim, block, tmp_path)
    assert len(kernels) == (6 if dtype == "bfloat16" and block == 128 else 7)
    if dtype == "bfloat16":  # which has tensor cores of its own; three TF32 products need more registers
        assert [each for each in kernels if each["spilt"]] == []
