"""The registry of tasks. Each folder here whose `__init__.py` defines TASK is a task."""

from __future__ import annotations

import difflib
import re
from functools import cache
from importlib import import_module
from pathlib import Path

from tasks.base import Task, TaskError

HERE = Path(__file__).parent
# The order is read from the text: to import every task would slow down each start of the command.
_DEFINITION = re.compile(r"^TASK\b(?:.*?\border=(\d+))?", re.MULTILINE | re.DOTALL)


def names() -> list[str]:
    """Every task of the suite, in the order of the tables. Imports nothing."""
    return list(_found(HERE))


def load(name: str) -> Task:
    """Load a task by its name. TaskError for an unknown name, and if the folder's TASK has another name or order."""
    found = _found(HERE)
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        hint = f" did you mean {near[0]!r}?" if near else ""
        raise TaskError(f"unknown task {name!r}:{hint} available: {', '.join(found)}")
    order, folder = found[name]
    task = import_module(f"{__name__}.{folder}").TASK
    for field, expected in (("name", name), ("order", order)):
        if getattr(task, field) != expected:
            raise TaskError(
                f"{HERE / folder / '__init__.py'} defines a task with {field} {getattr(task, field)!r}, "
                f"expected {expected!r}: write {field}={expected!r} there"
            )
    return task


@cache
def _found(place: Path) -> dict[str, tuple[int, str]]:
    """Name -> order and folder of each task, in their order; a dash in a name is an underscore in its folder."""
    texts = {path.parent.name: path.read_text(encoding="utf-8") for path in place.glob("*/__init__.py")}
    defined = {folder: match for folder, text in texts.items() if (match := _DEFINITION.search(text))}
    rows = sorted((int(match[1] or Task.order), folder) for folder, match in defined.items())
    return {folder.replace("_", "-"): (order, folder) for order, folder in rows}
