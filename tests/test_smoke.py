"""Every mechanism in both frameworks trains a few steps on one task, in rotation; elfatt on all five.

One run in each framework is quick; test_backends trains every mechanism in both of them too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import attention_impls
from lra.cli.main import main
from lra.training import record

FIVE = ("listops", "text", "retrieval-aan1818", "image", "pathfinder")
REAL = FIVE[1:4]
EVERYWHERE = "elfatt"


def cells() -> list[Any]:
    """(task, attention, backend); the two backends of a mechanism meet different tasks."""
    names = attention_impls.names()
    rotated = [
        pytest.param(FIVE[(i + 2 * j) % len(FIVE)], name, backend, marks=pytest.mark.slow)
        for i, name in enumerate(names)
        for j, backend in enumerate(attention_impls.load(name).backends)
        if name != EVERYWHERE
    ]
    return rotated + [
        pytest.param(task, EVERYWHERE, backend, marks=[] if task == "listops" else pytest.mark.slow)
        for backend in ("torch", "jax")
        for task in FIVE
    ]


@pytest.mark.parametrize(("task", "attn", "backend"), cells())
def test_a_few_steps_end_in_a_record(
    task: str, attn: str, backend: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    pytest.importorskip(backend)
    if task in REAL:
        request.getfixturevalue("raw")
    words = ["--task", task, "--attn", attn, "--backend", backend, "--preset", "smoke", "--device", "cpu"]
    assert main([*words, "--results", str(tmp_path)]) == 0
    (path,) = (tmp_path / "runs").glob("*.json")
    found = record.load(path)
    assert (found.task, found.attn, found.backend) == (task, attn, backend)
    assert found.curve[-1].step == found.config["train"]["steps"]
