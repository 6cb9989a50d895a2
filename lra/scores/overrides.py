"""The differences of a run from its preset, as flags: options of the mechanism and changed values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import attention_impls
import tasks
from lra.core.config import Model, Train, neutral
from lra.core.markup import one_line
from lra.core.presets import preset_options, preset_values, preset_version
from lra.core.tuning import Tuning, budget
from lra.terminal.flags import flag_words
from lra.training.record import Record

# Configuration that changes no number, or that a column tells as its origin.
UNCOUNTED = {"train": ("chunk",), "data": ("source",)}


def key(each: Record) -> tuple:
    """The key of a row: mechanism, backend, what differs from the preset, and the search that chose the rates.

    A preset may give a mechanism other options on each task. Searches on two tasks are equal if their grid and their
    share of the steps are equal: tasks differ in length.
    """
    found = tuning(each)
    share = found and (str(replace(found, steps=1)), round(found.steps / each.config["train"]["steps"], 3))
    return each.attn, each.backend, words(each), share


def words(each: Record) -> tuple[str, ...]:
    """The flags that a command line needs besides task, mechanism, backend, preset and seed.

    Flags of data belong to the column, and rates that a search chose to the search, so neither is among them.
    """
    chosen = option_words(
        each.attn, options(each), _preset_options(each.task, each.preset, each.preset_version, each.attn)
    )
    return (*chosen, *changes(each, "model"), *changes(each, "train", chosen=False))


def tuning(each: Record) -> Tuning | None:
    """The search that chose the record's rates; None without a search."""
    text = each.config.get("tuned")
    return Tuning.parse(text) if text else None


def tuned(group: Sequence[Record]) -> str:
    """The budget of the search behind a row: "tuned (6 runs of 1,000 steps)". Empty without a search."""
    found = [each for each in map(tuning, group) if each]
    return f"tuned ({budget(found[0].runs, (each.steps for each in found))})" if found else ""


def option_words(attn: str, chosen: Mapping[str, Any], preset: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """The flags for a mechanism's options, without those that the preset sets."""
    usual = defaults(attn) | dict(preset or {})
    return tuple(
        word for name, value in chosen.items() if usual.get(name) != value for word in _word("attn", name, value)
    )


def options(each: Record) -> dict[str, Any]:
    """The record's options. Newer options have their neutral values, else their defaults."""
    return defaults(each.attn) | _neutral_options(each.attn) | each.options


def common_options(group: Sequence[Record]) -> dict[str, Any]:
    """The options that all records of a row share."""
    first, *others = map(options, group)
    return {name: value for name, value in first.items() if all(each.get(name) == value for each in others)}


@cache
def defaults(attn: str) -> dict[str, Any]:
    """The default options of a mechanism; empty for one from outside the repository, or one that was removed."""
    if not _known(attn):
        return {}
    return asdict(attention_impls.load(attn).card.options())


@cache
def _neutral_options(attn: str) -> dict[str, Any]:
    return neutral(attention_impls.load(attn).card.options) if _known(attn) else {}


@cache
def _known(attn: str) -> bool:
    """Whether it is a mechanism of the repository. The folders are listed once."""
    return attn in attention_impls.names()


def command(each: Record) -> str:
    """The command that repeats the record's run: its own command, plus newer options whose default changes numbers.

    If the preset has changed since, the command names every value that differs from the current preset.
    """
    today = _preset_options(each.task, each.preset, None, each.attn)
    if superseded(each):
        names = {
            "task": each.task,
            "attn": each.attn,
            "backend": each.backend,
            "preset": each.preset,
            "seed": each.seed,
        }
        start = ["python run_lra.py", *(f"--{name} {one_line(str(value))}" for name, value in names.items())]
        parts = (word for part in ("data", "model", "train") for word in changes(each, part, today=True))
        tuned = _word("", "tuned", text) if (text := each.config.get("tuned")) else []
        return " ".join([*start, *option_words(each.attn, options(each), today), *parts, *tuned])
    later = {name: value for name, value in options(each).items() if name not in each.options}
    return " ".join([each.command, *option_words(each.attn, later, today)])


def superseded(each: Record) -> bool:
    """Whether the preset has changed since."""
    return each.preset_version != _version(each.task, each.preset)


def preset_name(each: Record) -> str:
    """The preset, with its version if that is superseded: "quick v1"."""
    return f"{each.preset} v{each.preset_version}" if superseded(each) else each.preset


def changes(each: Record, part: str, *, today: bool = False, chosen: bool = True) -> tuple[str, ...]:
    """The flags for values of one part (model, train or data) that differ from the preset.

    The preset is that of the record's version, or the current one with `today`. Values that a search chose are left out
    without `chosen`.
    """
    searched = () if chosen or part != "train" or not (found := tuning(each)) else found.grid
    attn = each.attn if _known(each.attn) else None
    usual = _preset(each.task, each.preset, None if today else each.preset_version, attn)[part]
    stated = neutral(_kinds(each.task)[part]) | each.config[part]
    return tuple(
        word
        for name, value in stated.items()
        if name not in (*UNCOUNTED.get(part, ()), *searched)
        and name in usual
        and value not in (usual[name], *_of_device(each, name))
        for word in _word(part, name, value)
    )


def _of_device(each: Record, name: str) -> tuple[str, ...]:
    """The value of "auto" on the record's device, for the field that has "auto"."""
    if name != "precision":
        return ()
    return ("float32",) if each.environment["device"] == "cpu" else ("bfloat16",)


@cache
def _preset(task: str, preset: str, version: int | None, attn: str | None) -> dict[str, dict[str, Any]]:
    """The preset with every field. Fields that the YAML does not give have their defaults."""
    values = preset_values(task, preset, attn, version)
    return {part: asdict(kind(**values[part])) for part, kind in _kinds(task).items()}


@cache
def _preset_options(task: str, preset: str, version: int | None, attn: str) -> dict[str, Any]:
    return preset_options(task, preset, attn, version)


@cache
def _version(task: str, preset: str) -> int:
    return preset_version(task, preset)


def _kinds(task: str) -> dict[str, type]:
    return {"data": tasks.load(task).options, "model": Model, "train": Train}


def _word(part: str, name: str, value: Any) -> list[str]:
    return [one_line(word) for word in flag_words(f"{part}." if part else "", name.replace("_", "-"), value)]
