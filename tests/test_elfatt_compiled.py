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
# Dtype, features of a head, tokens of a block -> kernels of a forward and a backward pass.
USUAL = {"bfloat16-32-128": 7, "bfloat16-64-128": 7, "float32-32-128": 8, "float32-64-128": 8}
IN_JAX = {"bfloat16-32-128": 7, "float32-64-128": 8}
LARGEST = {"bfloat16-128-512": 8, "bfloat16-64-512": 8}
PALLAS = {"bfloat16-32-128": 6, "bfloat16-64-128": 6, "bfloat16-128-512": 7, "float32-32-128": 7, "float32-64-512": 7}


def compiled_for_hopper(cells: dict[str, int], cache: Path, *words: str) -> list[dict[str, Any]]:
    """What a module of the tests says of each kernel, in one process whose Triton compiles each code once."""
    command = [sys.executable, "-m", *words, *cells]
    environment = os.environ | {"TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(cache)}
    root = Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kernels = [json.loads(line) for line in done.stdout.splitlines()]
    assert {cell: sum(each["cell"] == cell for each in kernels) for cell in cells} == cells
    for each in kernels:
        assert each["target"] == ["sm_90a"]
        assert each["shared"] <= SHARED_MEMORY, each
    return kernels


def test_triton_spills_no_registers_its_largest_tiles_fit_and_jax_triton_is_given_as_good(tmp_path: Path) -> None:
    kernels = compiled_for_hopper(USUAL | LARGEST, tmp_path, "tests.elfatt_kernels", "torch")
    assert [each for each in kernels if each["spilt"] and each["cell"] in USUAL] == []
    pytest.importorskip("jax")
    ours = compiled_for_hopper(IN_JAX, tmp_path, "tests.elfatt_kernels", "jax_triton")
    theirs = [each for each in kernels if each["cell"] in IN_JAX]
    for each, other in zip(ours, theirs, strict=True):
        assert (each["cell"], each["kernel"], each["spilt"]) == (other["cell"], other["kernel"], 0)
        assert each["wide"] >= other["wide"], "features are loaded one by one"


def test_what_pallas_lowers_to_compiles_and_fits(tmp_path: Path) -> None:
    pytest.importorskip("jax")
    kernels = compiled_for_hopper(PALLAS, tmp_path, "tests.elfatt_pallas")
    # bfloat16 has tensor cores of its own; three TF32 products need more registers.
    assert [each for each in kernels if each["spilt"] and each["cell"].startswith("bfloat16")] == []
