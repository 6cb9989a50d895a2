"""Presets: the named blocks of a task's YAML, each with its version.

`standard` is written out; the other presets say what differs from it. A task may lack the `s4` of its authors. Older
values that records were made with stay in the file as blocks of their own, "quick v1".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import attention_impls
import tasks
from lra.core.documents import read_yaml
from lra.core.environment import DATA
from lra.core.errors import UserError

CONFIGS = DATA / "configs"
Preset = Literal["smoke", "quick", "standard", "s4"]
PRESETS: tuple[Preset, ...] = get_args(Preset)
SOME = ("s4",)
"""Presets that only some tasks have."""


@dataclass(frozen=True, kw_only=True)
class Milestone:
    """What the authors' own runs of a preset have by then, so that a long run that fails is seen early."""

    epoch: int
    step: int
    accuracy: float
    """On the validation split."""


def presets_of(task: str) -> tuple[Preset, ...]:
    """The presets that the task has."""
    blocks = _blocks(task)[1]
    return tuple(preset for preset in PRESETS if preset not in SOME or preset in blocks)


def preset_values(
    task: str, preset: str, attn: str | None = None, version: int | None = None
) -> dict[str, dict[str, Any]]:
    """The data, model and train blocks of one preset, `standard` filled in where it is silent.

    With the rates and decays of those groups of arrays that the mechanism has. An older version than today's is a block
    of its own, "quick v1".
    """
    path, blocks = _of(task, preset)
    try:
        superseded = version is not None and version != _version(blocks, preset)
        chosen, base = blocks[f"{preset} v{version}" if superseded else preset], blocks["standard"]
        values = {part: {**base[part], **chosen.get(part, {})} for part in ("data", "model", "train")}
        given = {**base.get("groups", {}), **chosen.get("groups", {})}
        own = {} if attn is None else attention_impls.load(attn).card.groups
        for group in sorted(set(own.values()) & given.keys()):
            values["train"] |= {f"{group}_{name}": value for name, value in given[group].items()}
        return values
    except (AttributeError, KeyError, TypeError) as error:
        raise _malformed(path) from error


def preset_options(task: str, preset: str, attn: str, version: int | None = None) -> dict[str, Any]:
    """What the preset sets of a mechanism's options; nothing for most."""
    path, blocks = _of(task, preset)
    superseded = version is not None and version != preset_version(task, preset)
    try:
        return dict(blocks[f"{preset} v{version}" if superseded else preset].get("options", {}).get(attn, {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(path) from error


def milestones(task: str, preset: str) -> tuple[Milestone, ...]:
    """What the authors' runs have reached, in the order of steps; nothing for most presets."""
    path, blocks = _of(task, preset)
    try:
        return tuple(Milestone(**each) for each in blocks[preset].get("milestones", ()))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected milestones of {preset} with epoch, step and accuracy") from error


def preset_version(task: str, preset: str) -> int:
    """Today's version of the preset: 1 until its values are others."""
    path, blocks = _of(task, preset)
    try:
        return int(_version(blocks, preset))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected a mapping {preset}, whose version is a whole number") from error


def _malformed(path: Path) -> UserError:
    needed = ", ".join(preset for preset in PRESETS if preset not in SOME)
    return UserError(f"{path}: expected {needed}, with mappings data, model and train, and options by mechanism")


def _of(task: str, preset: str) -> tuple[Path, Any]:
    """The task's blocks; UserError where it is one of those that lack the preset."""
    path, blocks = _blocks(task)
    if preset in SOME and preset not in blocks:
        raise UserError(f"task {task} has no preset {preset}: available: {', '.join(presets_of(task))}")
    return path, blocks


def _blocks(task: str) -> tuple[Path, Any]:
    tasks.load(task)
    path = CONFIGS / f"{task}.yaml"
    if not path.is_file():
        raise UserError(f"{path} is missing: the values of task {task} stand there, write it like listops.yaml")
    found = path.stat()
    return path, _read(path, found.st_mtime_ns, found.st_size)


@lru_cache
def _read(path: Path, changed: int, size: int) -> Any:
    """The file as it is since it was changed; plans of many runs ask for the same one again and again."""
    return read_yaml(path)


def _version(blocks: Any, preset: str) -> Any:
    return blocks[preset].get("version", 1)
