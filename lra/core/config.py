"""The configuration of a run, as frozen dataclasses. Values come from configs/<task>.yaml and the command line.

A preset is a named block of a task's YAML. `standard` gives every value; the other presets give only those that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Literal

from annotated_types import Interval

import attention_impls
import tasks
from attention_impls.base import GROUPS, AttentionError
from attention_impls.ranges import problems, problems_in
from lra.core import tuning
from lra.core.errors import UserError, did_you_mean, require
from lra.core.frameworks import BackendName, usual
from lra.core.presets import PRESETS, Preset, preset_options, preset_values
from lra.core.spec import Spec
from lra.core.strict import refuse, require_keys, strict
from tasks.base import SPLITS, TaskError

PARTS = ("data", "options", "model", "train")  # of a run, each a dataclass
DROPPED = 2**16  # the most channels of an array with dropout

# Upper limits are generous. They are finite so that no run starts that no machine can hold or finish.
Channels = Annotated[int, Interval(ge=1, le=1_000_000)]
ChannelsOrNone = Annotated[int, Interval(ge=0, le=1_000_000)]
Steps = Annotated[int, Interval(ge=1, le=1_000_000_000)]
Deviation = Annotated[float, Interval(ge=0, le=100)]
Decay = Annotated[float, Interval(ge=0, lt=1)]
GroupRate = Annotated[float, Interval(ge=0, le=1e9)] | None
GroupDecay = Annotated[float, Interval(ge=0, le=100)] | None
Seed = Annotated[int, Interval(ge=0, lt=2**32)]


@dataclass(frozen=True, kw_only=True)
class Model:
    """The encoder around the attention: blocks with LayerNorm, mean over real tokens."""

    width: Annotated[int, Interval(ge=1, le=100_000)]
    """Channels C of the residual stream."""
    depth: Annotated[int, Interval(ge=1, le=1000)]
    """Number of layers (blocks)."""
    heads: Channels
    """Attention heads; head_dim is width / heads."""
    ffn: ChannelsOrNone
    """Hidden channels of a block's feed-forward layer; 0: no feed-forward layer."""
    classifier: ChannelsOrNone
    """Hidden channels of the classifier; 0: a single linear layer."""
    vocabulary: Channels
    """Rows of the token embedding; at least the task's own vocabulary."""
    dropout: Annotated[float, Interval(ge=0, lt=1)]
    """Dropout rate after the embedding, the attention and both feed-forward layers. Inside the attention: none."""
    embedding_std: Deviation
    """Standard deviation of the initial token embedding."""
    position_std: Deviation
    """Standard deviation of the initial position embedding."""
    norm: Literal["pre", "post"] = field(default="pre", metadata={"neutral": "pre"})
    """pre: norm of each layer's input, and one after the last block. post: norm of each sum with the stream."""
    projection: bool = field(default=True, metadata={"neutral": True})
    """Whether a linear layer follows the attention."""
    positions: Literal["learned", "rope", "none"] = field(default="learned", metadata={"neutral": "learned"})
    """learned: vectors added to the tokens; rope: rotations of queries and keys; none: no positions."""
    pixels: Literal["embedded", "continuous"] = field(default="embedded", metadata={"neutral": "embedded"})
    """embedded: a pixel is one of 256 tokens; continuous: a pixel is a number that enters a linear layer."""
    pixel_mean: Annotated[float, Interval(ge=0, le=255)] = field(default=0.0, metadata={"neutral": 0.0})
    """Subtracted from continuous pixels, which are 0 to 255."""
    pixel_std: Annotated[float, Interval(ge=1, le=255)] = field(default=255.0, metadata={"neutral": 255.0})
    """Divides continuous pixels after the subtraction."""
    activation: Literal["relu", "gelu"] = field(default="relu", metadata={"neutral": "relu"})
    """Activation of the classifier's hidden channels."""
    embedding_dropout: Annotated[float, Interval(ge=0, lt=1)] | None = field(default=None, metadata={"neutral": None})
    """Dropout rate after the embedding; none: the value of `dropout`."""
    tied_dropout: bool = field(default=False, metadata={"neutral": False})
    """Whether a dropped channel is dropped at every position of a document."""


@dataclass(frozen=True, kw_only=True)
class Train:
    """The optimisation: AdamW for a fixed number of steps, with a learning rate that rises and then falls."""

    steps: Steps
    """Number of optimiser steps."""
    batch_size: Annotated[int, Interval(ge=1, le=1_000_000)]
    """Examples in each step."""
    learning_rate: Annotated[float, Interval(gt=0, le=1e9)]
    """The peak learning rate of the schedule."""
    warmup: Steps
    """Steps until the peak learning rate."""
    evaluate_every: Steps
    """Steps between two evaluations on the whole validation split."""
    weight_decay: Annotated[float, Interval(ge=0, le=100)]
    """Decoupled weight decay of AdamW."""
    beta1: Decay
    """AdamW's decay of the first moment."""
    beta2: Decay
    """AdamW's decay of the second moment."""
    epsilon: Annotated[float, Interval(ge=1e-30, le=1)]
    """AdamW's epsilon, added outside the square root. It must not be zero in float32."""
    chunk: Annotated[int, Interval(ge=1, le=1_000_000)]
    """The most steps in one call of the framework; a call ends at each evaluation."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Precision of products and attention. auto: bfloat16 on a GPU, else float32. Weights, norms and loss: float32."""
    schedule: Literal["one_cycle", "cosine"] = field(default="one_cycle", metadata={"neutral": "one_cycle"})
    """one_cycle: the rate rises and falls in a straight line. cosine: it rises from 0 and falls to 0 along a cosine."""
    cycle: Steps | None = field(default=None, metadata={"neutral": None})
    """Length of the whole schedule, of which only the first `steps` are taken; none: `steps`."""
    bias_decay: GroupDecay = field(default=None, metadata={"neutral": None})
    """Weight decay of the blocks' biases and norms; none: weight_decay."""
    state_rate: GroupRate = field(default=None, metadata={"neutral": None})
    """Peak learning rate of a mechanism's state matrix; none: learning_rate."""
    state_decay: GroupDecay = field(default=None, metadata={"neutral": None})
    """Weight decay of the state matrix; none: weight_decay."""
    step_rate: GroupRate = field(default=None, metadata={"neutral": None})
    """Peak learning rate of a mechanism's step size; none: learning_rate."""
    step_decay: GroupDecay = field(default=None, metadata={"neutral": None})
    """Weight decay of the step size; none: weight_decay."""
    kernel_rate: GroupRate = field(default=None, metadata={"neutral": None})
    """Peak learning rate of a mechanism's long kernel; none: learning_rate."""
    kernel_decay: GroupDecay = field(default=None, metadata={"neutral": None})
    """Weight decay of the long kernel; none: weight_decay."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that decides a run's numbers. UserError if a value is out of range, or values do not fit together."""

    task: str
    attn: str
    backend: BackendName
    preset: Preset
    seed: Seed
    data: Any
    options: Any
    model: Model
    train: Train
    tuned: str = field(default="", metadata={"neutral": ""})
    """The search that chose the rates, as the command `tune` writes it; empty: no search."""

    def __post_init__(self) -> None:
        refuse(problems(self))
        model, train = self.model, self.train
        require(model.width % model.heads == 0, "model.heads", model.heads, f"a divisor of model.width={model.width}")
        for name in ("width", "ffn") if model.dropout else ():
            channels, expected = getattr(model, name), f"at most {DROPPED:,} with dropout, or model.dropout=0"
            require(channels <= DROPPED, f"model.{name}", channels, expected)
        first = model.embedding_dropout
        require(model.dropout > 0 or not first, "model.embedding_dropout", first, "0 or None, as model.dropout is 0")
        require(train.warmup < train.steps, "train.warmup", train.warmup, f"less than train.steps={train.steps}")
        cycle = train.cycle or train.steps
        require(cycle >= train.steps, "train.cycle", cycle, f"at least {train.steps} steps")
        task = tasks.load(self.task)
        given, expected = type(self.data).__name__, task.options.__name__
        require(isinstance(self.data, task.options), "data", f"a {given}", f"a {expected}, as {self.task} has it")
        task.check(self.data)
        self._check_groups()
        tuning.check(self.tuned, train)

    def _check_groups(self) -> None:
        """Raise UserError for the rate or the decay of a group in which the mechanism has no array."""
        for group in GROUPS:
            for name in (f"{group}_rate", f"{group}_decay"):
                if (given := getattr(self.train, name)) is not None:
                    has = group in attention_impls.load(self.attn).card.groups.values()
                    require(has, f"train.{name}", given, f"none: {self.attn} has no array in group {group}")


def resolve(
    task: str, attn: str | Spec, *, backend: BackendName | None = None, preset: str = "quick", seed: int = 0
) -> Run:
    """Make the configuration of a run from a preset.

    Args:
        task: The name of a task.
        attn: The name of a mechanism, with options such as elfatt@block_size=64, or the path of its folder.
        backend: "torch" or "jax". Default: PyTorch if it is installed, else JAX.
        preset: The name of a preset: "smoke", "quick", "standard" or "s4".
        seed: The seed of initial weights, batches and dropout.

    Returns:
        The run, with every value.

    Raises:
        UserError: A name is unknown, or a value is outside its range.
    """
    if preset not in PRESETS:
        hint = did_you_mean(preset, PRESETS)
        raise UserError(f"unknown preset {preset!r}:{hint} available: {', '.join(PRESETS)}")
    spec = attn if isinstance(attn, Spec) else Spec.parse(attn)
    options = mechanism_options(spec.name, preset_options(task, preset, spec.name) | dict(spec.options))
    names = {"task": task, "attn": spec.name, "backend": backend or usual(), "preset": preset, "seed": seed}
    return _built(
        {**names, "options": asdict(options), **preset_values(task, preset, spec.name)}, f"{task}, preset {preset}"
    )


def mechanism_options(attn: str, values: dict[str, Any]) -> Any:
    """A mechanism's options: the defaults of its card, with these changes."""
    kind = attention_impls.load(attn).card.options
    return strict(kind, values, "options", f"--attn {attn}", asdict(kind()))


def spelled(attn: str, options: Any) -> str:
    """A mechanism as tables name it: its name and the options (dataclass or mapping) that differ from its card."""
    values = options if isinstance(options, Mapping) else asdict(options)
    usual = asdict(attention_impls.load(attn).card.options())
    return Spec(attn, {name: value for name, value in values.items() if usual.get(name) != value}).label


def at_most(run: Run, count: int | None) -> Run:
    """The run with at most `count` examples in each split; None changes nothing."""
    if count is None:
        return run
    require(count > 0, "--count", count, "at least 1")
    counts = {split: getattr(run.data, split) for split in SPLITS}
    return replace(run, data=replace(run.data, **{name: min(count, have or count) for name, have in counts.items()}))


def settled(run: Run, *, on_gpu: bool) -> Run:
    """The run with its precision resolved for the device.

    Its id is computed from the result. So a run that was begun on a CPU is not continued in a GPU's arithmetic.
    """
    if on_gpu and run.train.precision == "auto":
        return replace(run, train=replace(run.train, precision="bfloat16"))
    return run


def as_dict(run: Run) -> dict[str, Any]:
    """The run as plain values, in the layout of --print-config and of a record. An empty `tuned` is left out."""
    return {name: value for name, value in asdict(run).items() if name != "tuned" or value}


def from_dict(values: Any, where: str) -> Run:
    """The inverse of `as_dict`. UserError for other values; its message begins with `where`.

    A field that is newer than `values` gets its neutral value, not its default: the run was made at that value.
    """
    return _built(values, where, neutral)


def neutral(kind: type) -> dict[str, Any]:
    """The neutral value of each newer field of a dataclass; lra.core.identity says why they exist."""
    return {field.name: field.metadata["neutral"] for field in fields(kind) if "neutral" in field.metadata}


def _built(values: Any, where: str, later: Callable[[type], dict[str, Any]] = lambda kind: {}) -> Run:
    """A run from plain values. A missing field gets its value from `later`, else its default."""
    require_keys(Run, values, "", where)
    refuse(problems_in({name: value for name, value in values.items() if name not in PARTS}, Run), where)
    try:
        kinds = {
            "data": tasks.load(values["task"]).options,
            "options": attention_impls.load(values["attn"]).card.options,
            "model": Model,
            "train": Train,
        }
        parts = {part: strict(kind, values[part], part, where, later(kind)) for part, kind in kinds.items()}
    except (TaskError, AttentionError) as error:
        raise UserError(f"{where}: {error}") from error
    try:
        return Run(**{**values, **parts})
    except (UserError, TaskError) as error:  # what its parts cannot be together
        raise UserError(f"{where}: {error}") from error
