"""The plan of a benchmark: its cells, each a mechanism in one framework at one length."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import attention_impls
import tasks
from attention_impls.base import Dims
from lra.bench import shapes
from lra.bench.record import MODELS, TRAINING, What
from lra.bench.shapes import SHAPES
from lra.bench.wanted import Dtype, Wanted
from lra.core.config import BackendName, Run, mechanism_options, resolve
from lra.core.errors import UserError
from lra.core.frameworks import Device, require_installed
from lra.core.spec import Spec
from lra.model.blueprint import Blueprint

Kind = Literal["attend", "train", "infer", "model", "model-infer", "product", "copy"]

TASK = "text"  # the task of the standard model: one document of bytes per example, two classes
TOKENS = 32_768  # default of a batch's tokens
IMAGE_TOKENS: dict[Device, int] = {"cpu": 2048, "gpu": TOKENS}  # the default for a whole encoder of images
CHUNK_TOKENS, CHUNK = 16_384, 4  # the most tokens and steps of one call
PRODUCT_SIDE = {"cpu": 2048, "gpu": 8192}  # rows and columns of the matrices of the ceiling
COPY_BYTES = {"cpu": 1 << 28, "gpu": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class BenchCell:
    """One thing to time in one process: a mechanism at one length, or one of the device's two ceilings."""

    kind: Kind
    backend: BackendName
    device: Device
    dtype: Dtype
    attn: str = ""
    """The mechanism's name or folder; empty for a ceiling."""
    options: dict[str, Any] = field(default_factory=dict)
    """The mechanism's options that differ from its card's."""
    length: int = 0
    batch: int = 1
    chunk: int = 1
    """Optimiser steps, or forward passes, in one call of the backend."""
    heads: int = 0
    head_dim: int = 0
    dropout: float = 0.0
    seed: int = 0
    task: str = ""
    """The task whose real documents are used, with `preset`; empty: random documents of full length."""
    preset: str = ""
    shape: str = ""
    """The shape of lra.bench.shapes whose grid of tokens is used; empty: a sequence."""
    memory: int | None = None
    """The most bytes on a CPU; None: nine tenths of what is free."""

    @property
    def learns(self) -> bool:
        """Whether the cell times optimiser steps."""
        return self.kind in TRAINING

    @property
    def label(self) -> str:
        """The mechanism with options that differ from its card, as --attn spells it; or the ceiling."""
        return Spec(self.attn, self.options).label if self.attn else self.kind


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole benchmark: its cells, the ceilings, and the pairs to compare."""

    what: What
    device: Device
    dtype: Dtype
    samples: int
    seed: int
    cells: tuple[BenchCell, ...]
    ceilings: tuple[BenchCell, ...]
    compare: tuple[tuple[str, str], ...]
    """Pairs of labels, or of backends."""

    def groups(self, alive: int) -> list[list[BenchCell]]:
        """The cells in groups of lengths that are timed together, so that at most `alive` processes exist at a time."""
        groups: list[list[BenchCell]] = []
        for length in dict.fromkeys(cell.length for cell in self.cells):
            these = [cell for cell in self.cells if cell.length == length]
            if groups and len(groups[-1]) + len(these) <= alive:
                groups[-1] += these
            else:
                groups.append(these)
        return groups


def make_plan(wanted: Wanted, device: Device) -> Plan:
    """The cells and the device's ceilings. UserError if something cannot be timed."""
    kinds = [
        _cell(wanted, device, spec, backend)
        for spec in map(_absolute, wanted.attn)
        for backend in wanted.backend
        if backend in attention_impls.load(spec.name).backends
    ]
    cells = [_as_preset(cell) for cell in kinds] if wanted.preset else _of_lengths(wanted, kinds)
    if not cells:
        names = ", ".join(map(str, wanted.attn))
        raise UserError(f"--attn {names}: none is written in {' or '.join(wanted.backend)}: choose another --backend")
    for backend in wanted.backend:
        require_installed(backend)
    for cell in cells:
        blueprint_of(cell)
    dtype = cells[0].dtype
    return Plan(
        what=wanted.what,
        device=device,
        dtype=dtype,
        samples=wanted.samples,
        seed=wanted.seed,
        cells=tuple(cells),
        ceilings=tuple(
            BenchCell(kind=kind, backend=backend, device=device, dtype=dtype, seed=wanted.seed)
            for backend in wanted.backend
            for kind in ("product", "copy")
        ),
        compare=_pairs(wanted, tuple(dict.fromkeys(cell.label for cell in cells))),
    )


def blueprint_of(cell: BenchCell, length: int | None = None) -> Blueprint:
    """The layer or model of a cell, at its own or another length. UserError for impossible options."""
    run: Run = resolve(TASK, Spec(cell.attn), backend=cell.backend, preset="standard", seed=cell.seed)
    task, of_images = tasks.load(TASK), cell.kind in MODELS
    mechanism = attention_impls.load(cell.attn).on(cell.backend)
    options = mechanism_options(cell.attn, cell.options)
    width = cell.heads * cell.head_dim
    tokens = length or cell.length
    grid = shapes.grid_of(cell.shape, tokens)
    dims = Dims(heads=cell.heads, head_dim=cell.head_dim, width=width, max_length=tokens, grid=grid)
    try:
        mechanism.card.check(options, dims)
    except ValueError as error:
        raise UserError(f"--attn {cell.label}: {error}") from error
    model = replace(run.model, dropout=cell.dropout, heads=cell.heads, width=width)
    return Blueprint(
        model=shapes.encoder(cell.shape, run.model, cell.dropout) if of_images else model,
        train=replace(run.train, precision=cell.dtype),
        mechanism=mechanism,
        options=options,
        dims=dims,
        classes=shapes.CLASSES if of_images else task.classes,
        towers=task.towers,
        seed=cell.seed,
        patches=shapes.SHAPES[cell.shape].patches if of_images else None,
    )


def run_of(cell: BenchCell) -> Run:
    """The run whose step a cell of `--as` times. UserError if the cell has no preset."""
    spec = Spec(cell.attn, cell.options)
    run = resolve(cell.task, spec, backend=cell.backend, preset=cell.preset, seed=cell.seed)
    return replace(run, train=replace(run.train, precision=cell.dtype))


def as_values(cell: BenchCell) -> dict[str, Any]:
    """The cell as plain values; Cell(**values) is the inverse."""
    return asdict(cell)


def _cell(wanted: Wanted, device: Device, spec: Spec, backend: BackendName) -> BenchCell:
    """The common values of the cells of one mechanism in one framework."""
    model = resolve(TASK, "softmax", preset="standard").model
    shape = SHAPES[wanted.shape[0]] if wanted.shape else None
    return BenchCell(
        kind=wanted.what,
        backend=backend,
        device=device,
        dtype=wanted.dtype or ("bfloat16" if device == "gpu" else "float32"),
        attn=spec.name,
        options=shapes.square(spec.name, dict(spec.options)) if wanted.shape else dict(spec.options),
        heads=shape.heads if shape else wanted.heads or model.heads,
        head_dim=shape.head_dim if shape else wanted.head_dim or model.width // model.heads,
        dropout=wanted.dropout,
        seed=wanted.seed,
        task=wanted.task,
        preset=wanted.preset,
        memory=None if wanted.memory is None else round(wanted.memory * 1e9),
    )


def _of_lengths(wanted: Wanted, kinds: list[BenchCell]) -> list[BenchCell]:
    return [
        replace(cell, shape=shape, length=length, batch=batch, chunk=_chunk(wanted, length))
        for (shape, length), batch in zip(_sizes(wanted), _batches(wanted, kinds), strict=True)
        for cell in kinds
    ]


def _as_preset(cell: BenchCell) -> BenchCell:
    """The cell with the sizes of its preset. Its length is the greatest of the task."""
    run = run_of(cell)
    return replace(
        cell,
        length=tasks.load(cell.task).shape(run.data).max_length,
        batch=run.train.batch_size,
        chunk=run.train.chunk,
        heads=run.model.heads,
        head_dim=run.model.width // run.model.heads,
        dropout=run.model.dropout,
    )


def _absolute(spec: Spec) -> Spec:
    """The mechanism with checked options. A folder gets an absolute path, for other processes."""
    mechanism_options(spec.name, dict(spec.options))
    return replace(spec, name=str(Path(spec.name).expanduser().resolve())) if "/" in spec.name else spec


def _sizes(wanted: Wanted) -> list[tuple[str, int]]:
    """The name of each shape, or an empty one, with its tokens."""
    return [(name, SHAPES[name].tokens) for name in wanted.shape] or [("", length) for length in wanted.lengths]


def _batches(wanted: Wanted, kinds: list[BenchCell]) -> tuple[int, ...]:
    sizes = _sizes(wanted)
    if wanted.batch is None:
        most = IMAGE_TOKENS[kinds[0].device] if kinds and wanted.what in MODELS else TOKENS
        return tuple(max(most // length, 1) for _, length in sizes)
    return wanted.batch if len(wanted.batch) > 1 else wanted.batch * len(sizes)


def _chunk(wanted: Wanted, length: int) -> int:
    if wanted.what == "attend":
        return 1
    return wanted.chunk or (1 if wanted.what in MODELS else max(min(CHUNK_TOKENS // length, CHUNK), 1))


def _pairs(wanted: Wanted, labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The pairs to compare. Default: the first mechanism with each other one, and the first backend with the second."""
    backends = tuple(wanted.backend)
    if wanted.compare is None:
        return tuple((names[0], other) for names in (labels, backends) for other in names[1:])
    for pair in wanted.compare:
        if not (set(pair) <= set(labels) or set(pair) <= set(backends)):
            known = ", ".join(labels + (backends if len(backends) > 1 else ()))
            raise UserError(f"--compare {':'.join(pair)}: expected FIRST:SECOND, two different names of {known}")
    return wanted.compare
