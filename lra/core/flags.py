"""A run as a command line: the flags that its parts have, and the words that make it again."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any

from lra.core.config import Run, resolve

# The names under which a run's parts appear as flags: --data.*, --attn.*, --model.*, --train.*
PARTS = {"data": "data", "options": "attn", "model": "model", "train": "train"}


def command_of(run: Run) -> str:
    """The command line that makes this run: the preset's name and every field that differs from it."""
    base = resolve(run.task, run.attn, backend=run.backend, preset=run.preset, seed=run.seed)
    words = ["python", "run_lra.py"]
    for name in ("task", "attn", "backend", "preset", "seed"):
        words += [f"--{name}", str(getattr(run, name))]
    for part, flag in PARTS.items():
        mine, usual = getattr(run, part), getattr(base, part)
        for field in fields(mine):
            value = getattr(mine, field.name)
            if value != getattr(usual, field.name):
                words += flag_words(f"{flag}.", field.name.replace("_", "-"), value)
    return shlex.join(words)


def flag_words(prefix: str, name: str, value: Any) -> list[str]:
    """One field as a command line sets it."""
    if isinstance(value, bool):
        return [f"--{prefix}{'' if value else 'no-'}{name}"]
    return [f"--{prefix}{name}", str(value)]
