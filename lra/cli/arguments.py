"""Between tyro and the configuration: the flags of each verb, built from the fields of the chosen run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

import attention_impls
import tasks
from lra.core.config import PRESETS, Run, at_most
from lra.core.environment import ROOT
from lra.core.flags import PARTS

Flag = tyro.conf.FlagCreatePairsOff


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
        ("seeds", _arg(int, "How many seeds, from --seed on; JAX trains them in one program."), 1),
        ("device", _arg(Literal["cpu", "gpu"] | None, "Where to train; a GPU where there is one."), None),
        ("results", _arg(Path, "Where records and checkpoints go."), ROOT / "results"),
        *_source_flags(),
        ("resume", _switch("Go on with this configuration's unfinished run."), False),
        ("fresh", _switch("Start over, discarding an unfinished run of this configuration."), False),
        (
            "padded",
            _switch("Pad every example to the longest: the same result, slower; to see what padding costs."),
            False,
        ),
        (
            "tensorboard",
            _arg(Path | None, "Write TensorBoard event files too, in a folder of the run's own."),
            None,
        ),
        ("print_config", _switch("Print the resolved configuration and stop."), False),
    ]
    text = (
        "Train one attention mechanism on one task, evaluate it, and leave a record under results/runs.\n\n"
        f"Options below are those of --task {base.task} --attn {base.attn} --preset {base.preset}; "
        "name others to see theirs. "
        "Other commands: run_lra.py bench; run_lra.py leaderboard; run_lra.py report; run_lra.py check; "
        "run_lra.py list; run_lra.py data list; run_lra.py data prepare|verify|show --task TASK."
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


def parse_bench(argv: Sequence[str], text: str) -> Any:
    """The flags of `bench`; exits as argparse does on misuse."""
    flags = [
        ("attn", _arg(str, "Which attentions, commas between; an option as name@option=value."), "elfatt,softmax"),
        ("lengths", _arg(str, "Tokens of a sequence, commas between."), "1024,2048,4096,8192,16384"),
        (
            "what",
            _arg(
                Literal["attend", "train", "infer"],
                "The mechanism, forward and backward; a training step of the standard model; a forward pass of it.",
            ),
            "attend",
        ),
        ("backend", _arg(str, "Which framework: torch, jax, or torch,jax."), "torch"),
        ("batch", _arg(str | None, "Examples: one number, or one a length; else 32,768 tokens' worth."), None),
        ("dtype", _arg(Literal["float32", "bfloat16"] | None, "float32 on a CPU, bfloat16 on a GPU."), None),
        ("samples", _arg(int, "Rounds, in each of which every cell takes one sample."), 15),
        ("compare", _arg(str | None, "Pairs FIRST:SECOND of attentions or frameworks; else the first with all."), None),
        ("chunk", _arg(int | None, "Steps in one call of the framework, for train and infer."), None),
        ("heads", _arg(int | None, "Heads, for attend; those of the standard model else."), None),
        ("head_dim", _arg(int | None, "Features of a head, for attend; those of the standard model else."), None),
        ("dropout", _arg(float, "Dropout of the training step."), 0.0),
        ("memory", _arg(float | None, "GB that a cell may take on a CPU; nine tenths of what is free."), None),
        ("seed", _arg(int, "Decides inputs, weights and the order of the cells."), 0),
        ("device", _arg(Literal["cpu", "gpu"] | None, "What to time; a GPU where there is one."), None),
        ("results", _arg(Path, "Records, tables and pictures go to its folder bench."), ROOT / "results"),
        ("redraw", _arg(Path | None, "Time nothing: write the tables and the picture of this record again."), None),
    ]
    kind, default = _made(flags)
    return tyro.cli(kind, default=default, args=list(argv), prog="run_lra.py bench", description=text)


def parse_check(argv: Sequence[str], text: str) -> Any:
    """The flags of `check`; exits as argparse does on misuse."""
    flags = [
        ("cell", _arg(str | None, "Which cells, by name, commas between; all of them else."), None),
        ("task", _arg(str | None, "Only cells of this task."), None),
        ("attn", _arg(str | None, "Only cells of this attention."), None),
        ("backend", _arg(Literal["torch", "jax"] | None, "Only cells of this framework."), None),
        ("update", _switch("Measure the baselines of these cells anew, write them and print what changed."), False),
        ("skip_throughput", _switch("Time nothing."), False),
        ("junit", _arg(Path | None, "Write the verdicts to this file as JUnit XML."), None),
        ("baselines", _arg(Path, "What to compare with."), ROOT / "results" / "baselines.yaml"),
    ]
    kind, default = _made(flags)
    return tyro.cli(kind, default=default, args=list(argv), prog="run_lra.py check", description=text)


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
        ("processes", _arg(int | None, "Processes that prepare data; as many as there are usable cores."), None),
    ]


def _arg(kind: Any, text: str, name: str | None = None) -> Any:
    return Annotated[kind, tyro.conf.arg(help=text, name=name)]


def _switch(text: str) -> Any:
    return Annotated[bool, Flag, tyro.conf.arg(help=text)]


def _arguments(own: list, extra: list, text: str, program: str, base: Run) -> Arguments:
    kind, default = _made([*own, *extra])
    return Arguments(kind=kind, default=default, description=text, program=program, base=base)


def _made(flags: list[tuple[str, Any, Any]]) -> tuple[type, Any]:
    """A dataclass of (name, annotation, default), and the one with all defaults."""
    kind = make_dataclass("Arguments", [(name, annotation) for name, annotation, _ in flags], kw_only=True)
    return kind, kind(**{name: value for name, _, value in flags})
