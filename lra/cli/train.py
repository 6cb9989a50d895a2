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
from lra.terminal.arguments import Number, Where, devices, specs
from lra.terminal.console import write_document

ATTN = (
    f"Which attention: {', '.join(attention_impls.names())}; with options, as elfatt@block_size=64; several with "
    "commas, or all. A folder's path needs quotes only beside others or with options: '\"my,folder/a\"@x=1'. "
    "A folder is code that runs: name only what you trust."
)
Data = TypeVar("Data")
Options = TypeVar("Options")


@dataclass(frozen=True, kw_only=True)
class TrainFlags(Generic[Data, Options]):
    """The arguments of the command; `data` has the options of the task, `options` those of the mechanism."""

    task: TaskName
    """Which task."""
    attn: Annotated[Specs, specs(), tyro.conf.arg(name="attn", help=ATTN)]
    backend: BackendName
    """Which framework."""
    preset: Preset
    """smoke: is it wired; quick: does it learn, in minutes on a CPU; standard: ranked."""
    seed: Seed
    """Decides initial weights, batches and dropout."""
    data: Data
    options: Annotated[Options, tyro.conf.arg(name="attn")]
    model: Model
    train: Train
    config: Where | None = None
    """Take the configuration from a record or from --print-config; flags still win. One that names a mechanism's
    folder runs the code there."""
    count: Number | None = None
    """At most so many examples in each split."""
    seeds: int = 1
    """How many seeds, from --seed on; JAX trains them in one program."""
    device: Annotated[Device, devices()] | None = None
    """Where to train; a GPU where the framework sees one."""
    results: Where = RESULTS
    """Where records and checkpoints go."""
    raw: Where | None = None
    """Your own raw files (default: $LRA_RAW); generated tasks need none."""
    processes: Number | None = None
    """Processes that prepare data; as many as there are usable cores."""
    resume: Switch = False
    """Continue what was begun with this configuration; of several runs, skip the finished and start the others."""
    fresh: Switch = False
    """Start over, discarding an unfinished run of this configuration."""
    padded: Switch = False
    """Pad every example to the longest: the same result, slower; to see what padding costs."""
    tensorboard: Where | None = None
    """Write TensorBoard event files too, in a folder of the run's own."""
    print_config: Switch = False
    """Print the resolved configuration and stop."""

    def run(self, spec: Spec) -> Run:
        """The run that they describe; `spec` names its mechanism."""
        names = [field.name for field in fields(Run) if field.name != "attn"]
        run = Run(attn=spec.name, **{name: getattr(self, name) for name in names})
        return at_most(run, self.count)


def train(argv: Sequence[str]) -> int:
    """Run the command; the exit code."""
    chosen = Chosen.of(argv)
    chosen.require("task", "attn")
    named = chosen.specs()
    # All are read, and so refused, before the first is trained; --help shows the first.
    read = [_read(chosen, spec, argv) for spec in named[: 1 if chosen.help else None]]
    runs, flags, why = [run for run, _, _ in read], read[0][1], read[0][2]
    if flags.print_config:
        if len(runs) > 1:
            raise UserError("--print-config prints one configuration: name one mechanism")
        write_document(yaml_text(as_dict(runs[0])))
        return 0
    from lra.training.session import Place, train_all  # after the parse: --help and --print-config need none of it

    place = Place(
        results=flags.results,
        device=flags.device,
        resume=flags.resume,
        fresh=flags.fresh,
        padded=flags.padded,
        raw=flags.raw,
        processes=flags.processes,
        tensorboard=flags.tensorboard,
    )
    return train_all(runs, flags.seeds, place, why)


def _read(chosen: Chosen, spec: Spec | None, argv: Sequence[str]) -> tuple[Run, TrainFlags, str]:
    """The run of one mechanism, the other arguments, and why its preset was chosen."""
    base, why = chosen.run(spec)
    spec = spec or Spec(base.attn)
    parts = {field.name: getattr(base, field.name) for field in fields(Run) if field.name != "attn"}
    flags = tyro.cli(
        TrainFlags[type(base.data), type(base.options)],
        default=TrainFlags(attn=Specs((spec,)), **parts),
        args=list(argv),
        prog="run_lra.py",
        description=_description(base),
    )
    return flags.run(spec), flags, why


def _description(base: Run) -> str:
    return (
        "Train attention mechanisms on one task, evaluate them, and leave a record of each under results/runs.\n\n"
        f"Options below are those of --task {base.task} --attn {base.attn} --preset {base.preset}; "
        "name others to see theirs. "
        "Other commands: run_lra.py sweep; run_lra.py cost; run_lra.py bench; run_lra.py evaluate RECORD; "
        "run_lra.py leaderboard; run_lra.py report; run_lra.py check; run_lra.py verify RECORD; "
        "run_lra.py submit RECORD; run_lra.py list; run_lra.py schema; run_lra.py data list; "
        "run_lra.py data prepare|verify|show --task TASK."
    )
