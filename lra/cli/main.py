"""The command line: argv -> a verb and its arguments -> the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import NamedTuple

import tyro

from lra.core.allocator import keep_buffers
from lra.core.errors import UserError, did_you_mean
from lra.terminal.console import DOCUMENTATION, open_streams
from lra.terminal.failures import told
from tasks.places import settle_matplotlib

Command = Callable[[Sequence[str]], int]


class Verb(NamedTuple):
    """A command whose arguments are one dataclass; its module is imported when it is asked for."""

    name: str
    module: str
    function: str
    flags: str
    computes: bool = False
    """Whether this process runs models itself."""

    def __call__(self, argv: Sequence[str]) -> int:
        """Read the arguments and run it; the exit code."""
        module = import_module(self.module)
        if self.computes:
            keep_buffers()
        program, text = f"run_lra.py {self.name}", f"{module.DESCRIPTION}\n\n{DOCUMENTATION}"
        flags = tyro.cli(getattr(module, self.flags), args=list(argv), prog=program, description=text)
        return getattr(module, self.function)(flags)


def main(argv: Sequence[str]) -> int:
    """Run one command; the exit code: 0 done, 1 failed, 2 asked for the impossible, 130 asked to end."""
    open_streams()
    settle_matplotlib()
    return told(lambda: _command(list(argv)))


def command() -> None:
    """The command `lra` of an installed package."""
    sys.exit(main(sys.argv[1:]))


def _command(argv: list[str]) -> int:
    verb = argv.pop(0) if argv and not argv[0].startswith("-") else "train"
    if verb not in VERBS:
        known = [name for name in VERBS if name != "train"]
        hint = did_you_mean(verb, known)
        raise UserError(f"unknown command {verb!r}:{hint} expected {', '.join(known)}, or options only to train")
    return VERBS[verb](argv)


def _train(argv: Sequence[str]) -> int:
    from lra.cli.train import train

    keep_buffers()
    return train(argv, [name for name in VERBS if name != "train"])


def _data(argv: Sequence[str]) -> int:
    from lra.cli.data import data

    return data(argv)


TYPED = (
    Verb("list", "lra.cli.catalogue", "show", "ListFlags"),
    Verb("sweep", "lra.sweep.command", "sweep", "SweepFlags"),
    Verb("tune", "lra.sweep.tune", "tune", "TuneFlags"),
    Verb("cost", "lra.sweep.cost", "cost", "CostFlags"),
    Verb("missing", "lra.sweep.missing", "missing", "MissingFlags"),
    Verb("bench", "lra.cli.bench", "bench", "BenchFlags", computes=True),
    Verb("evaluate", "lra.cli.evaluate", "evaluate", "EvaluateFlags", computes=True),
    Verb("leaderboard", "lra.leaderboard.command", "leaderboard", "LeaderboardFlags"),
    Verb("report", "lra.report.command", "report", "ReportFlags"),
    Verb("check", "lra.regression.command", "check", "CheckFlags", computes=True),
    Verb("verify", "lra.verification.command", "verify", "VerifyFlags", computes=True),
    Verb("submit", "lra.verification.submit", "submit", "SubmitFlags"),
    Verb("schema", "lra.cli.schema", "schema", "SchemaFlags"),
)
# Those of "train" and "data" depend on the task and the mechanism that are named.
VERBS: dict[str, Command] = {"train": _train, "data": _data, **{verb.name: verb for verb in TYPED}}
