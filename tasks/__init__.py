"""The tasks by name. One module a task; a new task is one line here."""

from __future__ import annotations

import difflib
from importlib import import_module

from tasks.base import Task, TaskError

_MODULES = {"listops": "tasks.listops", "pathfinder": "tasks.pathfinder"}


def names() -> list[str]:
    """Every task of the suite, in the order of the tables."""
    return list(_MODULES)


def load(name: str) -> Task:
    """The task of that name; an unknown one raises TaskError with the nearest name."""
    if name not in _MODULES:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"unknown task {name!r}:{hint} available: {', '.join(names())}")
    return import_module(_MODULES[name]).TASK
