"""Between tyro and the configuration: the flags of each verb, built from the fields of the chosen run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import attention_impls
import tasks
from lra.config import PRESETS, Run, at_most, resolve
from lra.environment import ROOT

Flag = tyro.conf.FlagCreatePairsOff

# The names under which a run's parts appear as flags: --data.*, --attn.*, --model.*, --train.*
PARTS = {"data": "data", "options": "attn", "model": "model", "train": "train"}


@dataclass(frozen=True)
class Arguments:
    """What tyro is given: a dataclass of flags with defaults, and the run that the defaults come from."""

    kind: type
    default: Any
    description: str
    program: str
    base: Run


def train_arguments(base: Run) -> Arguments:
    """The flags of training: the run's own, and those that change no number."""
    own = _fields(base, ("task", "attn", "backend", "preset", "seed"), tuple(PARTS))
    extra = [
        (
            "config",
            _arg(Path | None, "Take the configuration from a record or from --print-config; flags still win."),
            None,
        ),
        ("device", _arg(Literal["cpu", "gpu"] | None, "Where to train; a GPU where there is one."), None),
        ("results", _arg(Path, "Where records and checkpoints go."), ROOT / "results"),
        *_source_flags(),
        ("resume", _switch("Go on with this configuration's unfinished run."), False),
        ("fresh", _switch("Start over, discarding an unfinished run of this configuration."), False),
        ("print_config", _switch("Print the resolved configuration and stop."), False),
    ]
    text = (
        "Train one attention mechanism on one task, evaluate it, and leave a record under results/runs.\n\n"
        f"Options below are those of --task {base.task} --attn {base.attn} --preset {base.preset}; "
        "name others to see theirs. "
        "Other commands: run_lra.py list; run_lra.py data list; run_lra.py data prepare|verify|show --task TASK; "
        "run_lra.py leaderboard."
    )
    return _arguments(own, extra, text, "run_lra.py", base)


def data_arguments(base: Run, action: str) -> Arguments:
    """The flags of the data commands."""
    own = _fields(base, ("task", "preset"), ("data",))
    extra = [
        *_source_flags(),
        ("out", _arg(Path | None, "Where `show` writes its picture; <task>.png by default."), None),
    ]
    text = (
        "Prepare, verify or show (as a PNG) a task's data: run_lra.py data prepare|verify|show --task TASK. "
        "What is prepared already: run_lra.py data list."
    )
    return _arguments(own, extra, text, f"run_lra.py data {action}", base)


def parse(arguments: Arguments, argv: Sequence[str]) -> tuple[Run, Any]:
    """Read the flags: the run they describe, and an object that holds the rest. Exits as argparse does on misuse."""
    given = tyro.cli(
        arguments.kind,
        default=arguments.default,
        args=list(argv),
        prog=arguments.program,
        description=arguments.description,
    )
    values = {field.name: getattr(arguments.base, field.name) for field in fields(Run)}
    values |= {name: getattr(given, name) for name in values if hasattr(given, name)}
    run = Run(**values)
    return (run if given.count is None else at_most(run, given.count)), given


def command_of(run: Run) -> str:
    """The command line that makes this run: the preset's name and every field that differs from it."""
    base = resolve(run.task, run.attn, backend=run.backend, preset=run.preset, seed=run.seed)
    words = ["python", "run_lra.py"]
    for name in ("task", "attn", "backend", "preset", "seed"):
        words += [f"--{name}", str(getattr(run, name))]
    for part, flag in PARTS.items():
        mine, usual = getattr(run, part), getattr(base, part)
        for field in fields(mine):
            value = getattr(mine, field.name)
            if value != getattr(usual, field.name):
                words += flag_words(f"{flag}.", field.name.replace("_", "-"), value)
    return shlex.join(words)


def flag_words(prefix: str, name: str, value: Any) -> list[str]:
    """One field as a command line sets it."""
    if isinstance(value, bool):
        return [f"--{prefix}{'' if value else 'no-'}{name}"]
    return [f"--{prefix}{name}", str(value)]


def _fields(base: Run, names: tuple[str, ...], parts: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    kinds = {
        "task": _arg(Literal[tuple(tasks.names())], "Which task."),
        # A mechanism may live in a folder outside, so the first pass, not tyro, says which names there are.
        "attn": _arg(
            str,
            f"Which attention: {', '.join(attention_impls.names())}; several with commas, all, or a folder.",
            "attn",
        ),
        "backend": _arg(Literal["torch", "jax"], "Which framework."),
        "preset": _arg(
            Literal[PRESETS], "smoke: is it wired; quick: does it learn, in minutes on a CPU; standard: ranked."
        ),
        "seed": _arg(int, "Decides initial weights, batches and dropout."),
    }
    plain = [(name, kinds[name], getattr(base, name)) for name in names]
    nested = [
        (part, Annotated[type(getattr(base, part)), tyro.conf.arg(name=PARTS[part])], getattr(base, part))
        for part in parts
    ]
    return plain + nested


def _source_flags() -> list[tuple[str, Any, Any]]:
    return [
        ("count", _arg(int | None, "At most so many examples in each split."), None),
        ("raw", _arg(Path | None, "Your own raw files (default: $LRA_RAW); generated tasks need none."), None),
        ("processes", _arg(int | None, "Processes that prepare data; as many as there are cores."), None),
    ]


def _arg(kind: Any, text: str, name: str | None = None) -> Any:
    return Annotated[kind, tyro.conf.arg(help=text, name=name)]


def _switch(text: str) -> Any:
    return Annotated[bool, Flag, tyro.conf.arg(help=text)]


def _arguments(own: list, extra: list, text: str, program: str, base: Run) -> Arguments:
    every = [*own, *extra]
    kind = make_dataclass("Arguments", [(name, annotation) for name, annotation, _ in every], kw_only=True)
    default = kind(**{name: value for name, _, value in every})
    return Arguments(kind=kind, default=default, description=text, program=program, base=base)
