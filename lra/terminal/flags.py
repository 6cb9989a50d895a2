"""A run as a command line: the flags of its parts, and the words that repeat it."""

from __future__ import annotations

import shlex
from dataclasses import fields
from typing import Any, get_type_hints

from lra.core.config import Run, resolve
from lra.core.spec import Spec

# The names under which a run's parts appear as flags: --data.*, --attn.*, --model.*, --train.*
PARTS = {"data": "data", "options": "attn", "model": "model", "train": "train"}


def command_of(run: Run) -> str:
    """The command line of this run: the preset's name and every field that differs from it."""
    attn = Spec(run.attn)
    base = resolve(run.task, attn, backend=run.backend, preset=run.preset, seed=run.seed)
    words = ["python", "run_lra.py"]
    names = {"task": run.task, "attn": attn, "backend": run.backend, "preset": run.preset, "seed": run.seed}
    for name, value in names.items():
        words += [f"--{name}", str(value)]
    for part, flag in PARTS.items():
        mine, usual = getattr(run, part), getattr(base, part)
        for field in fields(mine):
            value = getattr(mine, field.name)
            if value != getattr(usual, field.name):
                words += flag_words(f"{flag}.", field.name.replace("_", "-"), value)
    return shlex.join([*words, *(flag_words("", "tuned", run.tuned) if run.tuned else [])])


def command_line(verb: str, flags: Any) -> str:
    """The command line of a command whose arguments are this dataclass: every field that is not at its default.

    Some defaults depend on the machine. Such a field declares in its metadata the value, "neutral", at which it is left
    out; at other values the command line names it.
    """
    words = ["python", "run_lra.py", verb]
    types = get_type_hints(type(flags), include_extras=True)
    for field in fields(flags):
        if (value := getattr(flags, field.name)) != field.metadata.get("neutral", field.default):
            words += flag_words("", _flag(field.name, types[field.name]), value)
    return shlex.join(words)


def _flag(field: str, annotated: Any) -> str:
    """The flag's name for a field: the one that its type is annotated with (`named`), or the field's own."""
    told = (getattr(each, "name", None) for each in getattr(annotated, "__metadata__", ()))
    return next(filter(None, told), field.replace("_", "-"))


def flag_words(prefix: str, name: str, value: Any) -> list[str]:
    """The words that set one field on a command line."""
    if isinstance(value, bool):
        return [f"--{prefix}{'' if value else 'no-'}{name}"]
    return [f"--{prefix}{name}", _shown(value)]


def _shown(value: Any) -> str:
    """A value as one word: lists are joined by commas, pairs by a colon."""
    if not isinstance(value, tuple):
        return str(value)
    return ",".join(":".join(each) if isinstance(each, tuple) else str(each) for each in value)
