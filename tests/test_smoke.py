"""Every mechanism trains a few steps on one task, tasks and frameworks in rotation; elfatt in both on all five.

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
    """(task, attention, backend); neighbours in the list of mechanisms meet different tasks and frameworks."""
    names = [(name, attention_impls.load(name).backends) for name in attention_impls.names() if name != EVERYWHERE]
    rotated = [
        pytest.param(FIVE[i % len(FIVE)], name, backends[i % len(backends)], marks=pytest.mark.slow)
        for i, (name, backends) in enumerate(names)
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
