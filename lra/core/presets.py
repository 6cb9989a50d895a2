"""Presets: the named blocks of a task's YAML, each with its version.

`standard` is written out; the other presets say what differs from it. Older values that records were made with stay in
the file as blocks of their own, "quick v1".
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import attention_impls
import tasks
from lra.core.documents import read_yaml
from lra.core.environment import DATA
from lra.core.errors import UserError

CONFIGS = DATA / "configs"
Preset = Literal["smoke", "quick", "standard"]
PRESETS: tuple[Preset, ...] = get_args(Preset)


def preset_values(
    task: str, preset: str, attn: str | None = None, version: int | None = None
) -> dict[str, dict[str, Any]]:
    """The data, model and train blocks of one preset, `standard` filled in where it is silent.

    With the rates and decays of those groups of arrays that the mechanism has. An older version than today's is a block
    of its own, "quick v1".
    """
    path, blocks = _blocks(task)
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
        raise UserError(f"{path}: expected {', '.join(PRESETS)}, with mappings data, model and train") from error


def preset_version(task: str, preset: str) -> int:
    """Today's version of the preset: 1 until its values are others."""
    path, blocks = _blocks(task)
    try:
        return int(_version(blocks, preset))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: expected a mapping {preset}, whose version is a whole number") from error


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
