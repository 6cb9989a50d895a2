"""The registry of tasks: the folder is the registry, names import nothing, and each task is one."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

import tasks
from lra.core.presets import preset_values, presets_of
from tasks.base import SPLITS, TaskError

SUITE = ["listops", "text", "retrieval", "retrieval-aan1818", "image", "pathfinder", "pathx", "path256"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where tasks are looked for instead of the package's own folder."""
    monkeypatch.setattr(tasks, "HERE", tmp_path)
    monkeypatch.setattr(tasks, "__path__", [str(tmp_path), *tasks.__path__])
    yield tmp_path
    for added in tmp_path.iterdir():
        sys.modules.pop(f"tasks.{added.name}", None)


def add(folder: Path, name: str, text: str) -> None:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(text)


def defined(fields: str) -> str:
    return f"from dataclasses import replace\nfrom tasks.pathx import TASK as BASE\n\nTASK = replace(BASE, {fields})\n"


def test_the_suite_stands_in_the_order_of_the_tables() -> None:
    assert [name for name in tasks.names() if name in SUITE] == SUITE


def test_a_folder_that_defines_a_task_is_one_and_no_other(folder: Path) -> None:
    add(folder, "mine_too", defined("name='mine-too', order=2"))
    add(folder, "first", "# TASK = is not here\nTASK: object = dict(\n    order=1,\n)\n")
    add(folder, "last", "TASK = object()\n")
    add(folder, "helpers", "from tasks.pathx import TASK\n")
    (folder / "empty").mkdir()
    assert tasks.names() == ["first", "mine-too", "last"]
    assert tasks.load("mine-too").name == "mine-too"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ("name='other', order=7", "defines a task with name 'other', expected 'wrong': write name='wrong' there"),
        ("name='wrong'", "defines a task with order 70, expected 1000: write order=1000 there"),
    ],
)
def test_a_task_that_contradicts_its_folder_is_refused(folder: Path, fields: str, told: str) -> None:
    add(folder, "wrong", defined(fields))
    with pytest.raises(TaskError) as stop:
        tasks.load("wrong")
    assert str(stop.value) == f"{folder / 'wrong' / '__init__.py'} {told}"


def test_a_misspelt_name_is_corrected() -> None:
    with pytest.raises(TaskError, match=r"^unknown task 'pathfindr': did you mean 'pathfinder'\? available: listops, "):
        tasks.load("pathfindr")


def test_names_import_no_task_and_tasks_no_generator() -> None:
    code = (
        "import sys, tasks\n"
        "tasks.names()\n"
        "print(*(name for name in sys.modules if name.startswith('tasks.')))\n"
        "for name in tasks.names(): tasks.load(name)\n"
        "print(*{'numba', 'scipy', 'PIL', 'matplotlib', 'tensorflow_datasets'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "tasks.base\n\n"


@pytest.mark.parametrize("name", tasks.names())
def test_the_standard_preset_is_a_tasks_own_defaults(name: str) -> None:
    options = tasks.load(name).options
    assert asdict(options(**preset_values(name, "standard")["data"])) == asdict(options())


@pytest.mark.parametrize(("name", "preset"), [(name, each) for name in tasks.names() for each in presets_of(name)])
def test_every_preset_describes_possible_data(name: str, preset: str) -> None:
    task = tasks.load(name)
    options = task.options(**preset_values(name, preset)["data"])
    task.check(options)
    assert list(task.counts(options)) == list(SPLITS)
    assert task.shape(options).max_length >= 1
    assert task.describe(options)
    assert task.validation(options)
    assert task.size(task, options) > 0
