"""A sweep's plan: its runs and benchmarks, independent of engines and of finished runs.

A plan is a list of blocks under `sweep`. A block of runs names tasks, mechanisms, frameworks, a preset and the number
of seeds. It may give values for fields of the configuration. Every combination is a run. A benchmark has the flags of
`bench`, and may describe its figures in words.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from annotated_types import Interval, MinLen

import attention_impls
import tasks
from attention_impls.base import AttentionError
from lra.core.config import BackendName, Model, Run, Seed, Train, as_dict, at_most, from_dict, resolve
from lra.core.documents import json_text, parse_yaml, read_yaml
from lra.core.errors import UserError, did_you_mean
from lra.core.frameworks import usual
from lra.core.layout import Count, Line, built
from lra.core.presets import Preset
from lra.core.spec import Spec, parse_specs
from lra.sweep import benched
from tasks.base import TaskError

PARTS = ("data", "options", "model", "train")
MOST = 100_000  # the most runs of one plan
Names = Annotated[list[Line], MinLen(1)]


@dataclass(frozen=True, kw_only=True)
class RunBlock:
    """A block of runs: every combination of its values."""

    task: Names
    attn: Names
    """Mechanisms with options, such as elfatt@block_size=64; or all."""
    backend: Annotated[list[BackendName], MinLen(1)] = field(default_factory=lambda: [usual()])
    preset: Preset = "quick"
    seed: Seed = 0
    """The first seed."""
    seeds: Annotated[int, Interval(ge=1, le=1000)] = 1
    grid: dict[Line, Annotated[list[Any], MinLen(1)]] = field(default_factory=dict)
    """Values of fields, such as train.learning_rate: [1e-4, 1e-3]."""
    count: Count | None = None
    """The most examples in each split."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run of a plan, or the reason why it is impossible."""

    title: str
    run: Run | None = None
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One benchmark of a plan."""

    words: tuple[str, ...]
    """The flags of `bench`."""
    figures: str = ""
    """What it measures, in words; empty where the plan says nothing."""

    @property
    def title(self) -> str:
        """The title in lists."""
        return f"bench: {self.figures}" if self.figures else shlex.join(["bench", *self.words])


Piece = Planned | Timed


def load(path: Path) -> list[Piece]:
    """The pieces of a plan's file, in its order, each once. UserError names a fault in the file."""
    values = read_yaml(path)
    blocks = values.get("sweep") if isinstance(values, Mapping) else None
    if not isinstance(blocks, list) or not blocks or len(values) > 1:
        raise UserError(f"{path} is not a plan: expected one key, sweep, with a list of blocks under it")
    found: list[Piece] = []
    for number, each in enumerate(blocks, start=1):
        where = f"{path}: block {number}"
        if isinstance(each, Mapping) and "bench" in each:
            found.append(_timed(each, where))
        else:
            found += pieces(_block(each, where), where)
        if len(found) > MOST:
            raise UserError(f"{where}: the plan has more runs than {MOST:,}, the most allowed: split it")
    return _once(found)


def pieces(block: RunBlock, where: str) -> list[Piece]:
    """The runs of one block. Those of the first seed come first, so that a sweep that is cut short has every cell.

    An impossible value makes only its own run impossible.

    Raises:
        UserError: A name is unknown. The message begins with `where`.
    """
    axes = math.prod(len(values) for values in block.grid.values())
    if (most := len(block.task) * len(block.backend) * axes * block.seeds) > MOST:
        raise UserError(f"{where}: {most:,} runs of each mechanism, expected at most {MOST:,}: split the block")
    cells = list(_cells(block, where))
    seeds = range(block.seed, block.seed + block.seeds)
    return _once([_with_seed(cell, seed) for seed in seeds for cell in cells])


def grid(text: str) -> tuple[str, list[Any]]:
    """Read a field and its values, such as train.learning_rate=1e-4,1e-3. UserError for other text."""
    name, equals, values = text.partition("=")
    if not equals or not name.strip() or not values.strip():
        raise UserError(f"--grid {text}: expected FIELD=VALUE,VALUE, such as train.learning_rate=1e-4,1e-3")
    return name.strip(), parse_yaml(f"[{values}]", f"--grid {text}")


def axes(texts: Sequence[str]) -> dict[str, list[Any]]:
    """The fields and values of several --grid. UserError for a field that two of them have."""
    found: dict[str, list[Any]] = {}
    for text in texts:
        name, values = grid(text)
        if name.replace("-", "_") in {each.replace("-", "_") for each in found}:
            raise UserError(f"--grid {text}: another --grid has {name} too: give all its values in one")
        found[name] = values
    return found


def _timed(values: Mapping[str, Any], where: str) -> Timed:
    words = values["bench"]
    figures = values.get("figures", "")
    if not isinstance(words, str) or not isinstance(figures, str) or not values.keys() <= {"bench", "figures"}:
        raise UserError(f"{where}: expected bench with its flags as one text, figures as another, and no other key")
    try:
        found = Timed(words=tuple(shlex.split(words)), figures=figures)
        benched.command(found.words)
    except (ValueError, UserError) as error:
        raise UserError(f"{where}: bench: {error}") from error
    return found


def _block(values: Any, where: str) -> RunBlock:
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is not a mapping: expected task, attn and other keys of a block")
    lists: dict[str, Any] = {
        name: value if isinstance(value, list) else [value]
        for name, value in values.items()
        if name in ("task", "attn", "backend")
    }
    if isinstance(axes := values.get("grid", {}), Mapping):
        lists["grid"] = {name: value if isinstance(value, list) else [value] for name, value in axes.items()}
    try:
        return built(RunBlock, {**values, **lists})
    except UserError as error:
        raise UserError(f"{where}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """The runs of a block that differ only in their seed."""

    title: str
    run: Run | None
    why: str


def _cells(block: RunBlock, where: str) -> Iterator[_Cell]:
    try:
        specs = parse_specs(",".join(block.attn)) if len(block.attn) > 1 else parse_specs(block.attn[0])
        for task in block.task:
            tasks.load(task)
        for spec in specs:
            attention_impls.load(spec.name)
    except (UserError, TaskError, AttentionError) as error:
        raise UserError(f"{where}: {error}") from error
    axes = [(_field(name, where), values) for name, values in block.grid.items()]
    for task, spec, backend in product(block.task, specs, block.backend):
        if backend not in attention_impls.load(spec.name).backends:
            continue
        for (part, name), _ in axes:
            _require_field(task, spec, part, name, where)
        for chosen in product(*(values for _, values in axes)):
            changes = [(part, name, value) for ((part, name), _), value in zip(axes, chosen, strict=True)]
            yield _cell(block, task, spec, backend, changes)


def _cell(
    block: RunBlock, task: str, spec: Spec, backend: BackendName, changes: Sequence[tuple[str, str, Any]]
) -> _Cell:
    told = [f"{part}.{name}={_shown(value)}" for part, name, value in changes]
    title = " · ".join([task, spec.label, backend, block.preset, *told])
    try:
        values = as_dict(resolve(task, spec, backend=backend, preset=block.preset, seed=block.seed))
        for part, name, value in changes:
            values[part][name] = value
        return _Cell(title=title, run=at_most(from_dict(values, title), block.count), why="")
    except (UserError, TaskError, AttentionError) as error:
        return _Cell(title=title, run=None, why=str(error))


def _with_seed(cell: _Cell, seed: int) -> Planned:
    title = f"{cell.title} · seed {seed}"
    if cell.run is None:
        return Planned(title=title, why=cell.why)
    try:
        return Planned(title=title, run=replace(cell.run, seed=seed))
    except UserError as error:
        return Planned(title=title, why=str(error))


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json_text(value, ensure_ascii=False)


def _field(name: str, where: str) -> tuple[str, str]:
    part, dot, field_name = name.replace("-", "_").partition(".")
    part = {"attn": "options"}.get(part, part)
    if not dot or part not in PARTS or not field_name:
        raise UserError(f"{where}: grid: {name} is not a field: expected train., model., options. or data.NAME")
    return part, field_name


def _require_field(task: str, spec: Spec, part: str, name: str, where: str) -> None:
    kinds = {
        "data": tasks.load(task).options,
        "options": attention_impls.load(spec.name).card.options,
        "model": Model,
        "train": Train,
    }
    known = [each.name for each in fields(kinds[part])]
    if name not in known:
        hint = did_you_mean(name, known)
        of = {"data": f" of {task}", "options": f" of {spec.name}"}.get(part, "")
        raise UserError(f"{where}: grid: {part}{of} has no field {name}:{hint} available: {', '.join(known)}")


def _once(found: Sequence[Piece]) -> list[Piece]:
    """Each run once, since blocks may overlap."""
    by_text = {_text(each): each for each in reversed(found)}
    kept = {id(each) for each in by_text.values()}
    return [each for each in found if id(each) in kept]


def _text(piece: Piece) -> str:
    if isinstance(piece, Timed) or piece.run is None:
        return piece.title
    return json_text(as_dict(piece.run), sort_keys=True)
