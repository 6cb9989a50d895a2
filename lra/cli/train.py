"""`run_lra.py` without a verb: train one mechanism, or several, on one task."""

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
    f"Which attention: {', '.join(attention_impls.names())}; with options, as elfatt@block_size=64; several with "
    "commas, or all. A folder's path needs quotes only beside others or with options: '\"my,folder/a\"@x=1'. "
    "A folder is code that runs: name only what you trust."
)
SUMMARIES = {
    "data": "prepare, verify, show or list the data of tasks",
    "list": "tasks, mechanisms and presets, or one mechanism's card",
    "sweep": "many runs side by side, from a plan",
    "tune": "search rates on validation, with less training",
    "cost": "what a plan costs, from measured steps",
    "missing": "which figures wait for a GPU, and what makes them",
    "bench": "time mechanisms against length",
    "evaluate": "score a finished run on any split, or beside another",
    "leaderboard": "tables and plots of all records",
    "report": "one HTML page of all records",
    "check": "the regression test",
    "verify": "check records of others",
    "submit": "what a pull request with records needs",
    "schema": "the layout of a record as JSON Schema",
}
Data = TypeVar("Data")
Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class TrainFlags(Generic[Data, Options]):
    """The arguments of the command; `data` has the options of the task, `options` those of the mechanism."""

    task: TaskName
    """Which task."""
    attn: Annotated[Specs, arguments.specs(), tyro.conf.arg(name="attn", help=ATTN)]
    preset: Preset
    """smoke: is it wired; quick: does it learn, in minutes on a CPU; standard: ranked."""
    backend: BackendName
    """Which framework."""
    seeds: int = 1
    """How many seeds, from --seed on; JAX trains them in one program."""
    resume: Switch = False
    """Continue what was begun with this configuration; of several runs, skip the finished and start the others."""
    fresh: Switch = False
    """Start over, discarding an unfinished run of this configuration."""
    device: Annotated[Device, arguments.devices()] | None = None
    """Where to train; a GPU where the framework sees one."""
    devices: Number = 1
    """So many devices share each batch: the same numbers, but in their last digits. GPUs, or cores of a CPU."""
    accumulate: Number = 1
    """Compute a device's share of a batch in so many parts, one after the other, where it does not fit into memory."""
    raw: Where | None = None
    """Your own raw files (default: $LRA_RAW); generated tasks need none."""
    results: Where = RESULTS
    """Where records and snapshots go."""
    config: Where | None = None
    """Take the configuration from a record or from --print-config; flags still win. One that names a mechanism's
    folder runs the code there."""
    print_config: Switch = False
    """Print the resolved configuration and stop."""
    seed: Seed
    """Decides initial weights, batches and dropout."""
    count: Number | None = None
    """At most so many examples in each split."""
    processes: Number | None = None
    """Processes that prepare data; as many as there are usable cores."""
    padded: Switch = False
    """Pad every example to the longest: the same result, slower; to see what padding costs."""
    tensorboard: Where | None = None
    """Write TensorBoard event files too, in a folder of the run's own."""
    tuned: str
    """The search that chose the rates, as `tune` writes it; it gives the run a row of its own."""
    data: Data
    options: Annotated[Options, tyro.conf.arg(name="attn")]
    model: Model
    train: Train

    def run(self, spec: Spec) -> Run:
        """The run that they describe; `spec` names its mechanism."""
        names = [field.name for field in fields(Run) if field.name != "attn"]
        run = Run(attn=spec.name, **{name: getattr(self, name) for name in names})
        return at_most(run, self.count)


def train(argv: Sequence[str], others: Sequence[str] = ()) -> int:
    """Run the command; the exit code. `others` are the commands that --help names beside it."""
    chosen = Chosen.of(argv)
    chosen.require("task", "attn")
    named = chosen.specs()
    # All are read, and so refused, before the first is trained; --help shows the first.
    read = [_read(chosen, spec, argv, others) for spec in named[: 1 if chosen.help else None]]
    runs, flags, why = [run for run, _, _ in read], read[0][1], read[0][2]
    if flags.print_config:
        if len(runs) > 1:
            raise UserError("--print-config prints one configuration: name one mechanism")
        write_document(yaml_text(as_dict(runs[0])))
        return 0
    from lra.model.sharing import Sharing  # after the parse: --help and --print-config need none of it
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
    """What the command does, and where more is said, in lines for 80 columns: tyro breaks none."""
    commands = [f"  {name:<12} {SUMMARIES.get(name, '')}".rstrip() for name in others]
    return "\n".join(
        [
            "Train attention mechanisms on one task, score them, and leave a record of each.",
            "",
            "  python run_lra.py --task listops --attn elfatt --preset smoke",
            "",
            "Other commands; each has --help:",
            *commands,
            "",
            DOCUMENTATION,
            "",
            f"Below: --task {base.task} --attn {base.attn} --preset {base.preset}; name others for theirs.",
        ]
    )
