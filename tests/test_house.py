"""The house rules of CONTRIBUTING.md that a machine can hold."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("attention_impls", "lra", "tasks")
FILE_LINES = 300
FUNCTION_LINES = 50
Function = ast.FunctionDef | ast.AsyncFunctionDef


def sources(*folders: str) -> list[Path]:
    """The Python files of the repository, or of some of its folders, committed or not, relative to its root."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *folders]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
        found = {Path(name) for name in listed if name.endswith(".py") and (ROOT / name).is_file()}
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive rather than a clone
        tops = [ROOT / name for name in folders] or [top for top in ROOT.iterdir() if top.name[0] != "."]
        found = {path.relative_to(ROOT) for top in tops for path in (top, *top.rglob("*")) if path.suffix == ".py"}
    return sorted(found)


def functions(path: Path) -> Iterator[Function]:
    """Every function of a file, methods and nested ones too."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"), filename=str(path))
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def length(function: Function) -> int:
    """Lines from `def` to the function's end, both counted."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_the_files_are_found() -> None:
    found = sources()
    assert Path("tests/test_house.py") in found
    assert {path.parts[0] for path in sources(*PACKAGES)} == set(PACKAGES)


def test_files_are_short() -> None:
    lengths = {str(path): len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in sources()}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_two_public_classes_share_a_name() -> None:
    """But for twins of the two frameworks, what every mechanism and task calls alike, and a card's layers."""
    places: dict[str, set[str]] = {}
    for path in sources(*PACKAGES):
        for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name[0] != "_" and node.name != "Options":
                twin = str(path).replace("/jax/", "/torch/").replace("jax_impl", "torch_impl")
                twin = twin.replace("/flax/", "/torch/").replace("impls/torch/layer", "impls/base")
                places.setdefault(node.name, set()).add(twin)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


def test_functions_are_short() -> None:
    lengths = {f"{path}:{f.lineno} {f.name}": length(f) for path in sources() for f in functions(path)}
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES} == {}


def test_public_functions_say_what_they_return() -> None:
    silent = [
        f"{path}:{function.lineno} {function.name}"
        for path in sources(*PACKAGES)
        for function in functions(path)
        if not function.name.startswith("_") and function.returns is None
    ]
    assert silent == []


def test_nothing_is_left_to_do() -> None:
    mark = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    left = [
        f"{path}:{number} {line.strip()}"
        for path in sources()
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), start=1)
        if mark.search(line)
    ]
    assert left == []


def test_imports_keep_to_their_floors() -> None:
    lint_imports = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    assert lint_imports is not None, f"no lint-imports beside {sys.executable}: make setup"
    command = [lint_imports, "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_module_imports_itself_by_way_of_others() -> None:
    # The contract compares neighbours only; this sees a package and its own modules too, lazy imports included.
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    TopologicalSorter({name: graph.find_modules_directly_imported_by(name) for name in graph.modules}).prepare()


def test_every_dependency_is_pinned_inside_its_range() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    pins = {r.name: str(r.specifier) for r in map(Requirement, (line for line in lines if not line.startswith("#")))}
    assert [f"{name}{pin}" for name, pin in pins.items() if not re.fullmatch(r"==[0-9.]+(post[0-9]+)?", pin)] == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    named = [line for name in ("torch", "jax", "docs", "slurm", "dev") for line in extras[name]]
    for line in (*project["dependencies"], *named):
        wanted = Requirement(line)
        pin = pins.get(canonicalize_name(wanted.name), "no pin").removeprefix("==")
        assert wanted.specifier.contains(pin), f"requirements.txt has {pin} where pyproject.toml asks for {line}"
    assert f"JAX_TRITON ?= {extras['jax-gpu'][0]}\n" in (ROOT / "Makefile").read_text(encoding="utf-8")
