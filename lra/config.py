"""What a run is, as frozen dataclasses; their values come from configs/<task>.yaml and the command line.

A preset is a named block of a task's YAML. `standard` is written out; the other presets say what differs from it.
"""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal

import dacite
import yaml

import attention_impls
import tasks
from tasks.base import SPLITS

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PRESETS = ("smoke", "quick", "standard")
BackendName = Literal["torch", "jax"]


class UserError(Exception):
    """Something the user can mend, told in one line: what was given, what was expected, what to do."""


@dataclass(frozen=True, kw_only=True)
class Model:
    """The encoder around the attention: pre-LN blocks, learned positions, mean over real tokens."""

    width: int
    """Channels C of the residual stream."""
    depth: int
    """Number of blocks."""
    heads: int
    """Attention heads; head_dim is width / heads."""
    ffn: int
    """Hidden channels of a block's feed-forward layer."""
    classifier: int
    """Hidden channels of the classifier."""
    vocabulary: int
    """Rows of the token embedding; at least the task's own vocabulary."""
    dropout: float
    """Dropout after the embedding, the attention, and both feed-forward layers; none inside the attention."""
    embedding_std: float
    """Standard deviation of the initial token embedding."""
    position_std: float
    """Standard deviation of the initial position embedding."""

    def __post_init__(self) -> None:
        _require(self.heads > 0 and self.width % self.heads == 0, "model.heads", self.heads, "a divisor of model.width")
        _require(self.depth > 0, "model.depth", self.depth, "at least 1")
        _require(0 <= self.dropout < 1, "model.dropout", self.dropout, "at least 0 and below 1")


@dataclass(frozen=True, kw_only=True)
class Train:
    """Optimisation: AdamW under a one-cycle learning rate, a fixed number of steps."""

    steps: int
    """Optimiser steps in all."""
    batch_size: int
    """Examples a step."""
    learning_rate: float
    """The peak of the one-cycle schedule."""
    warmup: int
    """Steps until the peak."""
    evaluate_every: int
    """Steps between two evaluations on the whole validation split."""
    weight_decay: float
    """Decoupled weight decay of AdamW."""
    beta1: float
    """AdamW's decay of the first moment."""
    beta2: float
    """AdamW's decay of the second moment."""
    epsilon: float
    """AdamW's epsilon, added outside the square root."""
    chunk: int
    """Steps handed to the framework in one call, at most; evaluations cut it."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of matrix products and attention; auto: bfloat16 on a GPU. Weights, norms, sums and loss stay float32."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "evaluate_every", "chunk"):
            _require(getattr(self, name) > 0, f"train.{name}", getattr(self, name), "at least 1")
        _require(0 < self.warmup < self.steps, "train.warmup", self.warmup, f"between 1 and train.steps={self.steps}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything that decides a run's numbers."""

    task: str
    attn: str
    backend: BackendName
    preset: str
    seed: int
    data: Any
    options: Any
    model: Model
    train: Train


def resolve(task: str, attn: str, *, backend: BackendName = "torch", preset: str = "quick", seed: int = 0) -> Run:
    """The configuration a preset describes, before any command-line override."""
    if preset not in PRESETS:
        raise UserError(f"unknown preset {preset!r}:{_hint(preset, PRESETS)} available: {', '.join(PRESETS)}")
    card = attention_impls.load(attn).card
    values = preset_values(task, preset)
    return Run(
        task=task,
        attn=attn,
        backend=backend,
        preset=preset,
        seed=seed,
        data=_strict(tasks.load(task).options, values["data"], f"{task}.yaml: data"),
        options=card.options(),
        model=_strict(Model, values["model"], f"{task}.yaml: model"),
        train=_strict(Train, values["train"], f"{task}.yaml: train"),
    )


def mechanism_options(attn: str, values: dict[str, Any]) -> Any:
    """A mechanism's options: those of its card, with these changed."""
    kind = attention_impls.load(attn).card.options
    return _strict(kind, {**asdict(kind()), **values}, f"--attn {attn}")


def at_most(run: Run, count: int) -> Run:
    """The run with no split of its data larger than `count`."""
    _require(count > 0, "--count", count, "at least 1")
    counts = {split: getattr(run.data, split) for split in SPLITS}
    return replace(run, data=replace(run.data, **{name: min(count, have or count) for name, have in counts.items()}))


def preset_values(task: str, preset: str) -> dict[str, dict[str, Any]]:
    """The data, model and train blocks of one preset, `standard` filled in where it is silent."""
    tasks.load(task)
    blocks = yaml.safe_load((CONFIGS / f"{task}.yaml").read_text())
    chosen, base = blocks[preset], blocks["standard"]
    return {part: {**base[part], **chosen.get(part, {})} for part in ("data", "model", "train")}


def settled(run: Run, *, on_gpu: bool) -> Run:
    """The run as that device computes it, "auto" resolved where it is not float32.

    It is what has an identity: a snapshot of a CPU is not gone on with in the arithmetic of a GPU.
    """
    if on_gpu and run.train.precision == "auto":
        return replace(run, train=replace(run.train, precision="bfloat16"))
    return run


def as_dict(run: Run) -> dict[str, Any]:
    """The run as plain values, in the layout of --print-config and of a record."""
    return asdict(run)


def from_dict(values: dict[str, Any], where: str) -> Run:
    """The inverse of `as_dict`; unknown or missing keys raise UserError naming `where`.

    A field that came later than `values` is at its neutral value, not at its default: that is what they were run with.
    """
    kinds = {
        "data": tasks.load(values["task"]).options,
        "options": attention_impls.load(values["attn"]).card.options,
        "model": Model,
        "train": Train,
    }
    parts = {part: _strict(kind, {**neutral(kind), **values[part]}, f"{where}: {part}") for part, kind in kinds.items()}
    return _strict(Run, {**values, **parts}, where)


def neutral(kind: type) -> dict[str, Any]:
    """What the fields of a dataclass that came later mean where they are missing: lra.identity says why."""
    return {field.name: field.metadata["neutral"] for field in fields(kind) if "neutral" in field.metadata}


def _strict(kind: type, values: dict[str, Any], where: str) -> Any:
    """Build a dataclass from plain values, refusing keys it does not have."""
    allowed = [field.name for field in fields(kind)]
    for key in values:
        if key not in allowed:
            raise UserError(f"{where}: unknown key {key!r}:{_hint(key, allowed)} available: {', '.join(allowed)}")
    plain = {key: value for key, value in values.items() if not is_dataclass(value)}
    try:
        if len(plain) < len(values):
            return kind(**values)
        return dacite.from_dict(kind, values, dacite.Config(strict=True, cast=[tuple, float]))
    except (dacite.DaciteError, TypeError) as error:
        raise UserError(f"{where}: {error}") from error


def _require(holds: bool, name: str, given: object, expected: str) -> None:
    if not holds:
        raise UserError(f"{name} is {given}, expected {expected}")


def _hint(name: str, known: Any) -> str:
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" did you mean {near[0]!r}?" if near else ""
