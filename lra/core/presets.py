"""Presets: the named blocks of a task's YAML, each with its version.

`standard` gives every value; the other presets give only those that differ. Some tasks have no `s4`. Older values that
records were made with stay in the file as blocks of their own, such as "quick v1".
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
    """The accuracy that the authors' own runs reach by an epoch, so that a failing long run is noticed early."""

    epoch: int
    step: int
    accuracy: float
    """Accuracy on the validation split."""


def presets_of(task: str) -> tuple[Preset, ...]:
    """The presets that the task has."""
    blocks = _blocks(task)[1]
    return tuple(preset for preset in PRESETS if preset not in SOME or preset in blocks)


def preset_values(
    task: str, preset: str, attn: str | None = None, version: int | None = None
) -> dict[str, dict[str, Any]]:
    """The data, model and train blocks of one preset; values that it does not give are those of `standard`.

    They include learning rates and decays of the array groups that the mechanism has. An older version of a preset is a
    block such as "quick v1".
    """
    path, blocks = _of(task, preset)
    try:
        chosen, base = _block(path, blocks, preset, version), blocks["standard"]
        values = {part: {**base[part], **chosen.get(part, {})} for part in ("data", "model", "train")}
        given = {**base.get("groups", {}), **chosen.get("groups", {})}
        own = {} if attn is None else attention_impls.load(attn).card.groups
        for group in sorted(set(own.values()) & given.keys()):
            values["train"] |= {f"{group}_{name}": value for name, value in given[group].items()}
        return values
    except (AttributeError, KeyError, TypeError) as error:
        raise _malformed(path) from error


def preset_options(task: str, preset: str, attn: str, version: int | None = None) -> dict[str, Any]:
    """The mechanism's options that the preset sets; empty for most presets."""
    path, blocks = _of(task, preset)
    try:
        return dict(_block(path, blocks, preset, version).get("options", {}).get(attn, {}))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _malformed(path) from error


def milestones(task: str, preset: str) -> tuple[Milestone, ...]:
    """The milestones of the authors' runs, in the order of steps; empty for most presets."""
    path, blocks = _of(task, preset)
    try:
        return tuple(Milestone(**each) for each in blocks[preset].get("milestones", ()))
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"{path}: expected milestones of {preset} with epoch, step and accuracy") from error


def preset_version(task: str, preset: str) -> int:
    """The current version of the preset; it starts at 1 and rises when values change."""
    path, blocks = _of(task, preset)
    try:
        return int(_version(blocks, preset))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected a mapping {preset}, whose version is a whole number") from error


def _malformed(path: Path) -> UserError:
    needed = ", ".join(preset for preset in PRESETS if preset not in SOME)
    return UserError(f"{path}: expected {needed}, with mappings data, model and train, and options by mechanism")


def _of(task: str, preset: str) -> tuple[Path, Any]:
    """The task's blocks. UserError if the task lacks the preset."""
    path, blocks = _blocks(task)
    if preset in SOME and preset not in blocks:
        raise UserError(f"task {task} has no preset {preset}: available: {', '.join(presets_of(task))}")
    return path, blocks


def _blocks(task: str) -> tuple[Path, Any]:
    tasks.load(task)
    path = CONFIGS / f"{task}.yaml"
    if not path.is_file():
        raise UserError(f"{path} is missing: write the presets of task {task} there, as listops.yaml does")
    found = path.stat()
    return path, _read(path, found.st_mtime_ns, found.st_size)


@lru_cache
def _read(path: Path, changed: int, size: int) -> Any:
    """The content of the file, read again only after a change; plans of many runs ask for it often."""
    return read_yaml(path)


def _block(path: Path, blocks: Any, preset: str, version: int | None) -> Any:
    """The block of a preset, or of an older version of it. UserError for a version that the file does not have."""
    if version is None or version == _version(blocks, preset):
        return blocks[preset]
    if (name := f"{preset} v{version}") not in blocks:
        raise UserError(f"preset {preset} of version {version} is not in {path}: a newer checkout may have it")
    return blocks[name]


def _version(blocks: Any, preset: str) -> Any:
    return blocks[preset].get("version", 1)
