"""`run_lra.py` without a command: trains one mechanism, or several, on one task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Annotated, Generic, TypeVar

import tyro

import attention_impls
from lra.cli.chosen import Chosen, Switch, TaskName
from lra.core.config import BackendName, Model, Run, Seed, Train, as_dict, at_most
from lra.core.documents import yaml_text
from lra.core.environment import RESULTS
from lra.core.errors import UserError
from lra.core.frameworks import Device
from lra.core.presets import Preset
from lra.core.spec import Spec, Specs
from lra.terminal import arguments
from lra.terminal.arguments import Number, Where
from lra.terminal.console import DOCUMENTATION, write_document

ATTN = (
    f"The mechanism: {', '.join(attention_impls.names())}. Options follow the name: elfatt@block_size=64. Separate "
    "several by commas, or say all. The path of a folder works too; beside others or with options it needs quotes: "
    "'\"my,folder/a\"@x=1'. The folder's code is run: name only code that you trust."
)
SUMMARIES = {
    "data": "prepare, verify, show or list the data of tasks",
    "list": "tasks, mechanisms and presets, or one mechanism's card",
    "sweep": "train many runs from a plan",
    "tune": "search learning rates by validation accuracy",
    "cost": "what a plan costs, from measured steps",
    "missing": "figures without a record, and how to make them",
    "bench": "time mechanisms against length",
    "evaluate": "score a finished run on any split, or compare two",
    "leaderboard": "tables and plots of all records",
    "report": "one HTML page of all records",
    "check": "the regression test",
    "verify": "check a record by computing it again",
    "submit": "prepare a pull request with records",
    "schema": "the layout of a record as JSON Schema",
}
Data = TypeVar("Data")
Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class TrainFlags(Generic[Data, Options]):
    """The arguments of the command; `data` has the options of the task, `options` those of the mechanism."""

    task: TaskName
    """The task."""
    attn: Annotated[Specs, arguments.specs(), tyro.conf.arg(name="attn", help=ATTN)]
    preset: Preset
    """smoke: does every part work; quick: does it learn, minutes on a CPU; standard: for ranking."""
    backend: BackendName
    """The framework."""
    seeds: int = 1
    """Number of seeds, counted from --seed. JAX trains them in one program."""
    resume: Switch = False
    """Continue an unfinished run from its snapshot. Of several runs: skip the finished ones, start the others."""
    fresh: Switch = False
    """Start over and discard an unfinished run of this configuration."""
    device: Annotated[Device, arguments.devices()] | None = None
    """The device. Default: a GPU if the framework sees one."""
    devices: Number = 1
    """Number of devices that share each batch: GPUs, or cores of a CPU. Numbers differ in their last digits only."""
    accumulate: Number = 1
    """Parts of a device's share of a batch, computed one after the other, if it does not fit into memory."""
    raw: Where | None = None
    """The folder of your raw files. Default: $LRA_RAW. Generated tasks need none."""
    results: Where = RESULTS
    """The folder for records and snapshots."""
    config: Where | None = None
    """Take the configuration from a record or a file of --print-config; flags change its values. If it names the
    folder of a mechanism, that folder's code is run."""
    print_config: Switch = False
    """Print the resolved configuration and stop."""
    seed: Seed
    """The seed of initial weights, batches and dropout."""
    count: Number | None = None
    """The most examples in each split."""
    processes: Number | None = None
    """Number of processes that prepare data. Default: the number of usable cores."""
    padded: Switch = False
    """Pad every example to the longest. The result is the same, only slower; this shows what padding costs."""
    tensorboard: Where | None = None
    """Also write TensorBoard event files, into a folder for each run under this one."""
    tuned: str
    """The search that chose the rates, as `tune` writes it. Such a run gets its own row in tables."""
    data: Data
    options: Annotated[Options, tyro.conf.arg(name="attn")]
    model: Model
    train: Train

    def run(self, spec: Spec) -> Run:
        """The run that these arguments describe; `spec` names its mechanism."""
        names = [field.name for field in fields(Run) if field.name != "attn"]
        run = Run(attn=spec.name, **{name: getattr(self, name) for name in names})
        return at_most(run, self.count)


def train(argv: Sequence[str], others: Sequence[str] = ()) -> int:
    """Run the command. Returns the exit code. `others` are the other commands that --help lists."""
    chosen = Chosen.of(argv)
    chosen.require("task", "attn")
    named = chosen.specs()
    # Read all runs before the first is trained, so that bad arguments are refused early; --help shows the first.
    read = [_read(chosen, spec, argv, others) for spec in named[: 1 if chosen.help else None]]
    runs, flags, why = [run for run, _, _ in read], read[0][1], read[0][2]
    if flags.print_config:
        if len(runs) > 1:
            raise UserError("--print-config got several mechanisms, expected one: name one with --attn")
        write_document(yaml_text(as_dict(runs[0])))
        return 0
    from lra.model.sharing import Sharing  # imported late: --help and --print-config do not need it
    from lra.training.session import Place, train_all

    place = Place(
        results=flags.results,
        device=flags.device,
        resume=flags.resume,
        fresh=flags.fresh,
        padded=flags.padded,
        raw=flags.raw,
        processes=flags.processes,
        tensorboard=flags.tensorboard,
        sharing=Sharing(flags.devices, flags.accumulate),
    )
    return train_all(runs, flags.seeds, place, why)


def _read(
    chosen: Chosen, spec: Spec | None, argv: Sequence[str], others: Sequence[str] = ()
) -> tuple[Run, TrainFlags, str]:
    """The run of one mechanism, the other arguments, and why its preset was chosen."""
    base, why = chosen.run(spec)
    spec = spec or Spec(base.attn)
    parts = {field.name: getattr(base, field.name) for field in fields(Run) if field.name != "attn"}
    flags = tyro.cli(
        TrainFlags[type(base.data), type(base.options)],
        default=TrainFlags(attn=Specs((spec,)), **parts),
        args=list(argv),
        prog="run_lra.py",
        description=_description(base, others),
    )
    return flags.run(spec), flags, why


def _description(base: Run, others: Sequence[str]) -> str:
    """What the command does and where to read more, in lines of at most 80 columns: tyro does not wrap them."""
    commands = [f"  {name:<12} {SUMMARIES.get(name, '')}".rstrip() for name in others]
    return "\n".join(
        [
            "Train attention mechanisms on one task, score them, and record each run.",
            "",
            "  python run_lra.py --task listops --attn elfatt --preset smoke",
            "",
            "Other commands; each has --help:",
            *commands,
            "",
            DOCUMENTATION,
            "",
            f"Options below: --task {base.task} --attn {base.attn} --preset {base.preset}.",
            "",
            "Name another task, mechanism or preset to see its options.",
        ]
    )
