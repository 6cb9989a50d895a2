"""The tasks by name; a new task is one line here."""

from __future__ import annotations

import difflib
from importlib import import_module

from tasks.base import Task, TaskError

# name -> module and attribute, in the order of the tables
_PLACES = {
    "listops": ("tasks.listops", "TASK"),
    "text": ("tasks.text", "TASK"),
    "retrieval": ("tasks.retrieval", "TASK"),
    "retrieval-aan1818": ("tasks.retrieval_aan1818", "TASK"),
    "image": ("tasks.image", "TASK"),
    "pathfinder": ("tasks.pathfinder", "TASK"),
    "pathx": ("tasks.pathfinder", "PATHX"),
    "path256": ("tasks.pathfinder", "PATH256"),
}


def names() -> list[str]:
    """Every task of the suite, in the order of the tables."""
    return list(_PLACES)


def load(name: str) -> Task:
    """The task of that name; an unknown one raises TaskError with the nearest name."""
    if name not in _PLACES:
        near = difflib.get_close_matches(name, names(), n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"unknown task {name!r}:{hint} available: {', '.join(names())}")
    module, attribute = _PLACES[name]
    return getattr(import_module(module), attribute)
