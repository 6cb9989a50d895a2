"""The arguments of `bench` that decide its plan."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Interval

from attention_impls.ranges import problems
from lra.bench import shapes
from lra.bench.record import MODELS, What
from lra.core.config import BackendName
from lra.core.errors import UserError
from lra.core.frameworks import Device, usual
from lra.core.spec import Spec
from lra.terminal.arguments import backends, devices, named, numbers, pairs, specs, words

Dtype = Literal["float32", "bfloat16"]
Count = Annotated[int, Interval(ge=1, le=1_000_000)]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The subject of a benchmark.

    Raises:
        UserError: A value is outside its range, or values do not fit together.
    """

    attn: Annotated[tuple[Spec, ...], specs()] = (Spec("elfatt"), Spec("softmax"))
    """The mechanisms, separated by commas, with options as name@option=value. A folder's path stands alone or in
    quotes."""
    lengths: Annotated[tuple[int, ...], numbers("lengths")] = (1024, 2048, 4096, 8192, 16384)
    """Lengths of sequences in tokens, separated by commas."""
    shape: Annotated[tuple[str, ...], words("shape")] = ()
    """Instead of lengths and heads: the sizes of a model, of vit-s-224, -512, -1024, -2048, swin-t-224, sd-512,
    -1024. elfatt then has square windows."""
    what: What = "attend"
    """`attend`: the mechanism, forward and backward. `train`: a training step of the standard model. `infer`: its
    forward pass. `model`, `model-infer`: the same two for the whole encoder of images of --shape."""
    backend: Annotated[tuple[BackendName, ...], backends()] = field(
        default_factory=lambda: (usual(),), metadata={"neutral": ("torch",)}
    )
    """torch, jax, or torch,jax. Default: PyTorch if it is installed, else JAX."""
    batch: Annotated[tuple[int, ...], numbers("batch")] | None = None
    """Examples in a batch: one number, or one for each length. Default: as many as have 32,768 tokens; 2,048 for
    encoders of images on a CPU."""
    dtype: Dtype | None = None
    """Precision. Default: float32 on a CPU, bfloat16 on a GPU."""
    samples: Annotated[int, Interval(ge=2, le=100_000)] = 15
    """Number of rounds. Each cell takes one sample in each round."""
    compare: Annotated[tuple[tuple[str, str], ...], pairs("compare")] | None = None
    """Pairs FIRST:SECOND of mechanisms or frameworks. Default: the first with each other one."""
    chunk: Count | None = None
    """Steps in one call of the framework; not for attend."""
    heads: Count | None = None
    """Heads, for attend. Default: those of the standard model."""
    head_dim: Count | None = None
    """Features of a head, for attend. Default: those of the standard model."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Dropout of the training step."""
    memory: Annotated[float, Interval(gt=0, le=1e9)] | None = None
    """The most GB of a cell on a CPU. Default: nine tenths of what is free."""
    seed: Annotated[int, Interval(ge=0, lt=2**32)] = 0
    """Seed of inputs, weights and the order of the cells."""
    preset: Annotated[str, named("as")] = ""
    """For train and infer: time the step of this preset of --task, on its first documents."""
    task: str = ""
    """The task of --as, whose preset decides lengths, batch, chunk and dropout."""

    def __post_init__(self) -> None:
        for problem in problems(self):
            raise UserError(f"bench: {problem}")
        self._require_shape()
        shown = ",".join(map(str, self.lengths))
        if len(set(self.lengths)) < len(self.lengths):
            raise UserError(f"--lengths {shown}: expected each length once")
        if self.batch is not None and len(self.batch) not in (1, many := len(self.shape or self.lengths)):
            given, what = ",".join(map(str, self.batch)), "shapes" if self.shape else "lengths"
            raise UserError(f"--batch {given}: expected one number, or one for each of the {many} {what}")
        if self.what != "attend" and (self.heads or self.head_dim):
            raise UserError(f"--heads and --head-dim are for --what attend: {self.what} times a whole model")
        self._require_preset()

    def _require_shape(self) -> None:
        shapes.check(self.shape)
        if self.shape and self.what not in ("attend", *MODELS):
            raise UserError(f"--shape is for --what attend, model, model-infer: {self.what} times the standard model")
        if self.what in MODELS and not self.shape:
            raise UserError(f"--what {self.what} times an encoder of images: name its sizes, as --shape vit-s-224")
        if self.shape and (self.heads or self.head_dim):
            raise UserError("--shape decides heads and their width: leave --heads and --head-dim out")
        if self.shape and self.lengths != Wanted.lengths:
            raise UserError("--shape decides the lengths: leave --lengths out")

    def _require_preset(self) -> None:
        if bool(self.preset) != bool(self.task):
            raise UserError("--as and --task go together: --as standard --task listops")
        if self.preset and self.what not in ("train", "infer"):
            raise UserError(f"--as is for --what train or infer: {self.what} takes no step of a run")
        if self.preset and (self.batch or self.chunk or self.dropout):
            raise UserError(f"--as {self.preset} decides batch, chunk and dropout: leave those flags out")


@dataclass(frozen=True, kw_only=True)
class WantedOn(Wanted):
    """The subject of a benchmark, and its device."""

    device: Annotated[Device, devices()] | None = None
    """The device to time. Default: a GPU if there is one."""
