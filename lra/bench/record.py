"""The record of one benchmark: every sample, and the machine."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Interval, Len

from lra.bench.parts import BenchEnvironment, Calls, Sample
from lra.core.config import BackendName
from lra.core.documents import json_document, read_json
from lra.core.errors import UserError
from lra.core.files import write_atomically, write_new
from lra.core.layout import Count, Holds, Line, Whole, built

SCHEMA = 1
What = Literal["attend", "train", "infer", "model", "model-infer"]
Status = Literal["measured", "out of memory", "unequal", "failed", "stopped"]
MODELS: tuple[What, ...] = ("model", "model-infer")  # the whole encoders of images
TRAINING: tuple[What, ...] = ("train", "model")
MEASURED: Status = "measured"
OUT_OF_MEMORY: Status = "out of memory"
UNEQUAL: Status = "unequal"
FAILED: Status = "failed"
STOPPED: Status = "stopped"


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One cell, or one ceiling of the device."""

    label: Line
    """The mechanism with options that differ from its card; "product" or "copy" for a ceiling."""
    attn: Line
    options: dict[str, Any]
    backend: BackendName
    length: Whole
    batch: Whole
    steps: Calls
    """Training steps, forward passes or attention calls in one call of the backend."""
    status: Status
    """measured; out of memory; unequal (to the reference); failed; stopped (before a sample was taken)."""
    why: str
    """The reason of a failure, in one line."""
    parity: dict[str, Annotated[float, Ge(0)]]
    """Greatest errors of output and gradient against the reference, their bounds, and the seconds of the check."""
    first_seconds: Annotated[float, Ge(0)] | None
    """Seconds of the first call, with compilation and autotuning."""
    samples: list[Sample]
    """Seconds of each sample, one for each round."""
    calls: list[Calls]
    """Calls of the backend in each sample."""
    memory_bytes: Whole | None
    """Peak bytes: those of the allocator on a GPU, those above the start on a CPU."""
    flop: Whole | None
    """Operations of one step, counted as in lra.bench.operations."""
    bytes: Whole | None
    """Bytes of one step, counted as in lra.bench.operations."""
    shape: Line = ""
    """The model whose self-attention has these sizes, such as "vit-s-512"; empty: a sequence."""


@dataclass(frozen=True, kw_only=True)
class BenchRecord:
    """One run of `bench`."""

    schema: Annotated[int, Interval(ge=SCHEMA, le=SCHEMA)]
    started: Line
    """UTC, ISO 8601."""
    complete: bool
    """False while the benchmark runs, and if it was stopped."""
    what: What
    device: Line
    dtype: Line
    heads: Count
    head_dim: Count
    dropout: Annotated[float, Interval(ge=0, lt=1)]
    seed: Whole
    """Seed of the inputs, the weights and the order of the cells."""
    cells: list[Timing]
    ceilings: list[Timing]
    compare: list[Annotated[list[str], Len(2, 2)]]
    """Pairs of labels, or of backends."""
    environment: Annotated[dict[str, Any], Holds(BenchEnvironment)]
    git: dict[str, Any]
    command: str
    documents: Line = ""
    """Task and preset whose first documents were used, such as "listops standard"; empty: random full documents."""
    encoder: Line = ""
    """Sizes of the whole encoder of a shape, in words; empty if none was timed."""

    @property
    def shapes(self) -> list[str]:
        """Names of the timed shapes in order; empty in a benchmark of lengths."""
        return list(dict.fromkeys(cell.shape for cell in self.cells if cell.shape))

    @property
    def of_images(self) -> bool:
        """Whether whole encoders of images were timed."""
        return self.what in MODELS

    @property
    def cores(self) -> int:
        """Cores that the benchmark could use; in the first records those of the whole machine."""
        return self.environment.get("usable_cores") or self.environment["cores"] or 0


def save(record: BenchRecord, path: Path) -> None:
    """Write the record over an earlier state of the same benchmark. UserError if `load` would refuse it."""
    write_atomically(_content(record), path)


def save_new(record: BenchRecord, path: Path) -> Path:
    """Write a benchmark's first state to a new file. Returns its path, with a number if `path` is taken."""
    return write_new(_content(record), path)


def _content(record: BenchRecord) -> bytes:
    try:
        _trusted(asdict(record))
    except UserError as error:
        raise UserError(f"the benchmark's record is not written, since it would not be valid: {error}") from error
    return json_document(asdict(record))


def load(path: Path) -> BenchRecord:
    """Read a record. UserError if its layout is unknown or a value is out of range."""
    try:
        values = read_json(path)
    except UserError as error:
        raise UserError(f"not the record of a benchmark: {error}") from error
    try:
        return _trusted(values)
    except UserError as error:
        raise UserError(f"{path} is not the record of a benchmark: {error}") from error


def _trusted(values: Any) -> BenchRecord:
    """The record of these values. UserError names the first value of another type or range, or that does not fit."""
    record = built(BenchRecord, values)
    for number, cell in enumerate((*record.cells, *record.ceilings)):
        where = f"cell {number} ({cell.label})"
        if len(cell.samples) != len(cell.calls) or bool(cell.samples) != (cell.status == MEASURED):
            counts = f"{len(cell.samples)} samples and {len(cell.calls)} calls"
            raise UserError(f"{where} is {cell.status} and has {counts}")
        if cell.status == MEASURED and cell.backend not in record.environment["backends"]:
            raise UserError(f"{where} is of {cell.backend}, which environment.backends lacks")
        if number < len(record.cells) and 0 in (cell.length, cell.batch):
            raise UserError(f"{where} has length {cell.length} and batch {cell.batch}, expected at least 1")
        if cell.parity and not {"output", "gradient"} <= cell.parity.keys():
            raise UserError(f"{where} has parity for {', '.join(cell.parity)}, expected output and gradient")
    return record
