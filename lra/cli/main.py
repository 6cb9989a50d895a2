"""The command line: argv -> configuration -> verb.

Two passes: the first reads --task, --attn, --preset and --config, which decide what options there are; the second,
tyro's, reads every field of the configuration that results, so that --help shows the chosen mechanism's own.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attention_impls
import tasks
from lra.cli.arguments import data_arguments, parse, parse_bench, parse_check, train_arguments
from lra.core.config import Run, as_dict, from_dict, resolve
from lra.core.documents import read_json, read_yaml, yaml_text
from lra.core.environment import ROOT, has_gpu
from lra.core.errors import UserError
from tasks.base import TaskError

VERBS = ("train", "list", "data", "bench", "leaderboard", "report", "check", "schema")
BENCH = (
    "Time attentions against length: each in a process of its own, woken in turn, after it was found equal to its "
    "reference. Leaves a record, tables and a picture under results/bench."
)
CHECK = (
    "Train the cells of results/baselines.yaml and fail where accuracy falls below what chance can explain, where the "
    "first losses are not the golden ones, or where throughput relative to softmax is lost. Exit code: 0 all held, "
    "1 something regressed, 2 something could not run. Leaves no record."
)
SHOWN_TASK, SHOWN_ATTN = "pathfinder", "elfatt"  # whose options --help shows where none are named


def main(argv: Sequence[str]) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 asked for the impossible, 130 stopped by the user."""
    try:
        return _dispatch(list(argv))
    except (UserError, TaskError, attention_impls.AttentionError) as error:
        return _fail(str(error), 2)
    except MemoryError as error:
        return _fail(f"not enough memory: {error or 'nothing is left'}: take a smaller model, batch or length", 1)
    except KeyboardInterrupt:
        return _fail("stopped; nothing half-written is left", 130)
    except OSError as error:
        return _fail(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", 1)


def _dispatch(argv: list[str]) -> int:
    verb = argv.pop(0) if argv and not argv[0].startswith("-") else "train"
    if verb not in VERBS:
        raise UserError(f"unknown command {verb!r}: expected {', '.join(VERBS[1:])}, or options only to train")
    verbs = {
        "train": _train,
        "list": _list,
        "data": _data,
        "bench": _bench,
        "leaderboard": _leaderboard,
        "report": _report,
        "check": _check,
        "schema": _schema,
    }
    return verbs[verb](argv)


def _train(argv: list[str]) -> int:
    chosen = _first_pass(argv)
    asked_for_help = bool({"-h", "--help"} & set(argv))
    if chosen.config is None and not asked_for_help:
        for name, known in (("task", tasks.names()), ("attn", attention_impls.names())):
            if getattr(chosen, name) is None:
                raise UserError(f"--{name} is missing: choose one of {', '.join(known)}, or see --help")
    several = _several(chosen.attn)
    if len(several) > 1 and not asked_for_help:
        return _train_several(chosen, several, argv)
    base, why = _base_run(chosen)
    run, extra = parse(train_arguments(base), argv)
    if extra.print_config:
        sys.stdout.write(yaml_text(as_dict(run)))
        return 0
    from lra.backends.lanes import TOGETHER  # after the parse: --help and --print-config need none of it
    from lra.training.session import train_and_report

    if extra.seeds > 1 and run.backend not in TOGETHER:
        return _train_several(chosen, several, argv)
    return train_and_report(run, extra, why)


def _several(attn: str | None) -> list[str]:
    """The mechanisms that --attn names: one, several with commas between, or `all`."""
    if attn is None:
        return []
    names = attention_impls.names() if attn == "all" else [name for name in attn.split(",") if name]
    return list(dict.fromkeys(names))


def _train_several(chosen: argparse.Namespace, names: list[str], argv: list[str]) -> int:
    """Every mechanism and seed in turn; all of them are parsed, and so refused, before the first is trained."""
    from lra.backends.lanes import TOGETHER
    from lra.training.session import Job, require_possible, seeds_of, train_several

    jobs, results = [], Path()
    for name in names or [None]:  # none where --config names it
        base, _ = _base_run(argparse.Namespace(**{**vars(chosen), "attn": name}))
        arguments = argv if name is None else _with(argv, "attn", name)
        run, flags = parse(train_arguments(base), arguments)
        if flags.print_config:
            raise UserError("--print-config prints one configuration: name one mechanism")
        require_possible(run, flags)
        runs, results = seeds_of(run, flags.seeds), flags.results
        if run.backend in TOGETHER:
            jobs.append(Job(runs, arguments))
        else:
            alone = _with(arguments, "seeds", "1")
            jobs += [Job([each], _with(alone, "seed", str(each.seed))) for each in runs]
    return train_several(jobs, results)


def _with(argv: list[str], name: str, value: str) -> list[str]:
    """The arguments with one flag's value replaced, or added."""
    flag = f"--{name}"
    replaced = [f"{flag}={value}" if word.startswith(f"{flag}=") else word for word in argv]
    replaced = [value if before == flag else word for before, word in zip(["", *replaced], replaced, strict=False)]
    return replaced if any(word == flag or word.startswith(f"{flag}=") for word in argv) else [*argv, flag, value]


def _list(argv: list[str]) -> int:
    if argv:
        raise UserError(f"list takes no arguments, given: {' '.join(argv)}")
    from lra.cli.catalogue import print_catalogue

    print_catalogue()
    return 0


def _leaderboard(argv: list[str]) -> int:
    from lra.leaderboard.command import leaderboard

    return leaderboard(argv)


def _report(argv: list[str]) -> int:
    from lra.report.command import report

    return report(argv)


def _data(argv: list[str]) -> int:
    actions = ("prepare", "verify", "show", "list")
    action = argv.pop(0) if argv and not argv[0].startswith("-") else None
    if action == "list":
        return _data_list(argv)
    asked_for_help = bool({"-h", "--help"} & set(argv))
    if action not in actions and not asked_for_help:
        raise UserError(f"data {action or ''}: expected data {' | data '.join(actions)}, then --task and options")
    chosen = _first_pass(argv)
    if chosen.task is None and not asked_for_help:
        raise UserError(f"--task is missing: choose one of {', '.join(tasks.names())}")
    base, _ = _base_run(chosen)
    run, extra = parse(data_arguments(base, action or "prepare"), argv)
    from lra.training import data

    if action == "prepare":
        data.prepare(run.task, run.data, data.source(extra.raw, extra.processes))
        data.verify(run.task, run.data)
    elif action == "verify":
        data.verify(run.task, run.data)
    else:
        data.show(run.task, run.data, extra.out or Path(f"{run.task}.png"))
    return 0


def _data_list(argv: list[str]) -> int:
    if argv:
        raise UserError(f"data list takes no arguments, given: {' '.join(argv)}")
    from lra.training.data import print_prepared

    print_prepared()
    return 0


def _bench(argv: list[str]) -> int:
    flags = parse_bench(argv, BENCH)
    from lra.bench.report import redraw, time_and_report

    if flags.redraw is not None:
        return redraw(flags.redraw)
    return time_and_report(flags, shlex.join(["python", "run_lra.py", "bench", *argv]))


def _check(argv: list[str]) -> int:
    flags = parse_check(argv, CHECK)
    from lra.regression.check import check

    return check(flags)


def _schema(argv: list[str]) -> int:
    if argv:
        raise UserError(f"schema takes no arguments, given: {' '.join(argv)}")
    from lra.training.record_schema import write

    print(write(ROOT / "results"))
    return 0


def _first_pass(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("task", "attn", "preset", "config", "device"):
        parser.add_argument(f"--{name}")
    try:
        return parser.parse_known_args(argv)[0]
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error


def _base_run(chosen: argparse.Namespace) -> tuple[Run, str]:
    """The configuration before the second pass, and why its preset was chosen where the user chose none."""
    if chosen.config is not None:
        run = _read_config(Path(chosen.config))
        for name in ("task", "attn", "preset"):
            given = getattr(chosen, name)
            if given not in (None, getattr(run, name)):
                raise UserError(
                    f"--{name} {given} and --config {chosen.config} ({getattr(run, name)}) exclude each other"
                )
        return run, f", from {chosen.config}"
    preset, why = chosen.preset, ""
    if preset is None:
        on_gpu = chosen.device != "cpu" and has_gpu()
        preset, why = ("standard", " (a GPU is here)") if on_gpu else ("quick", " (no GPU)")
    return resolve(chosen.task or SHOWN_TASK, chosen.attn or SHOWN_ATTN, preset=preset), why


def _read_config(path: Path) -> Run:
    """A run from --print-config's YAML or from a record's JSON."""
    values: Any = read_json(path) if path.suffix == ".json" else read_yaml(path)
    return from_dict(values.get("config", values) if isinstance(values, dict) else values, str(path))


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code
