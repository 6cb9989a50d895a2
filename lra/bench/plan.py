"""What is to be timed: the cells of a benchmark, each a mechanism in one framework at one length."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import attention_impls
import tasks
from attention_impls.base import Dims
from lra.backends import Device, require_installed
from lra.core.config import BackendName, Run, mechanism_options, resolve
from lra.core.documents import parse_yaml
from lra.core.errors import UserError
from lra.model.weights import Blueprint

What = Literal["attend", "train", "infer"]
Kind = Literal["attend", "train", "infer", "product", "copy"]
Dtype = Literal["float32", "bfloat16"]

TASK = "text"  # whose standard model is trained: one document of bytes an example, two classes
TOKENS = 32_768  # tokens of a batch where none is given
CHUNK_TOKENS, CHUNK = 16_384, 4  # a call takes at most so many steps, fewer where documents are long
PRODUCT_SIDE = {"cpu": 2048, "gpu": 8192}  # rows and columns of the matrices of the ceiling
COPY_BYTES = {"cpu": 1 << 28, "gpu": 1 << 30}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One thing to time in one process: a mechanism at one length, or one of the device's two ceilings."""

    kind: Kind
    backend: BackendName
    device: Device
    dtype: Dtype
    attn: str = ""
    """A mechanism's name, or its folder; empty for a ceiling."""
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
    memory: int | None = None
    """Bytes it may take on a CPU; None is nine tenths of what is free."""

    @property
    def label(self) -> str:
        """The mechanism and what differs from its card, as --attn takes it; or the ceiling."""
        changed = "".join(f"@{name}={value}" for name, value in self.options.items())
        return f"{Path(self.attn).name}{changed}" if self.attn else self.kind


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole benchmark: its cells, those of the ceiling, and which pairs are compared."""

    what: What
    device: Device
    dtype: Dtype
    samples: int
    seed: int
    cells: tuple[Cell, ...]
    ceilings: tuple[Cell, ...]
    compare: tuple[tuple[str, str], ...]
    """Pairs of labels, or of backends."""

    def groups(self, alive: int) -> list[list[Cell]]:
        """The cells by lengths that are timed together, so that at most `alive` processes live beside one another."""
        groups: list[list[Cell]] = []
        for length in dict.fromkeys(cell.length for cell in self.cells):
            these = [cell for cell in self.cells if cell.length == length]
            if groups and len(groups[-1]) + len(these) <= alive:
                groups[-1] += these
            else:
                groups.append(these)
        return groups


def make_plan(flags: Any, device: Device) -> Plan:
    """The plan that the flags of `bench` describe; UserError for what cannot be timed."""
    lengths = _numbers("lengths", flags.lengths)
    if len(set(lengths)) < len(lengths):
        raise UserError(f"--lengths {flags.lengths}: expected each length once")
    batches = _batches(flags.batch, lengths)
    backends = _backends(flags.backend)
    choices = [_choice(word) for word in _words("attn", flags.attn)]
    if flags.samples < 2:
        raise UserError(f"--samples is {flags.samples}, expected at least 2: quartiles need them")
    if not 0 <= flags.dropout < 1:
        raise UserError(f"--dropout is {flags.dropout}, expected at least 0 and below 1")
    dtype = flags.dtype or ("bfloat16" if device == "gpu" else "float32")
    common: dict[str, Any] = {"device": device, "dtype": dtype, "seed": flags.seed}
    model = {"dropout": flags.dropout, "memory": _bytes(flags.memory), **_heads(flags)}
    cells = [
        Cell(kind=flags.what, backend=name, attn=attn, options=options, length=n, batch=b, **model, **common)
        for n, b in zip(lengths, batches, strict=True)
        for attn, options in choices
        for name in backends
        if name in attention_impls.load(attn).backends
    ]
    if not cells:
        raise UserError(f"--attn {flags.attn}: none of them is written in {flags.backend}")
    cells = [replace(cell, chunk=_chunk(flags, cell.length)) for cell in cells]
    for cell in cells:
        blueprint_of(cell)
    labels = tuple(dict.fromkeys(cell.label for cell in cells))
    return Plan(
        what=flags.what,
        device=device,
        dtype=dtype,
        samples=flags.samples,
        seed=flags.seed,
        cells=tuple(cells),
        ceilings=tuple(Cell(kind=kind, backend=name, **common) for name in backends for kind in ("product", "copy")),
        compare=_pairs(flags.compare, labels, tuple(backends)),
    )


def blueprint_of(cell: Cell, length: int | None = None) -> Blueprint:
    """The layer or model of a cell, at another length where one is given; UserError for options that cannot be."""
    run: Run = resolve(TASK, cell.attn, backend=cell.backend, preset="standard", seed=cell.seed)
    task = tasks.load(TASK)
    mechanism = attention_impls.load(cell.attn).on(cell.backend)
    options = mechanism_options(cell.attn, cell.options)
    width = cell.heads * cell.head_dim
    dims = Dims(heads=cell.heads, head_dim=cell.head_dim, width=width, max_length=length or cell.length)
    try:
        mechanism.card.check(options, dims)
    except ValueError as error:
        raise UserError(f"--attn {cell.label}: {error}") from error
    return Blueprint(
        model=replace(run.model, dropout=cell.dropout, heads=cell.heads, width=width),
        train=replace(run.train, precision=cell.dtype),
        mechanism=mechanism,
        options=options,
        dims=dims,
        classes=task.classes,
        towers=task.towers,
        seed=cell.seed,
    )


def as_values(cell: Cell) -> dict[str, Any]:
    """The cell as plain values; Cell(**values) is the way back."""
    return asdict(cell)


def _words(name: str, text: str) -> list[str]:
    words = list(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    if not words:
        raise UserError(f"--{name} is empty: name one, or several with commas between")
    return words


def _numbers(name: str, text: str) -> list[int]:
    try:
        numbers = [int(word) for word in text.split(",")]
    except ValueError as error:
        raise UserError(f"--{name} {text}: expected whole numbers with commas between") from error
    if min(numbers) < 1:
        raise UserError(f"--{name} {text}: expected numbers of at least 1")
    return numbers


def _batches(text: str | None, lengths: list[int]) -> list[int]:
    if text is None:
        return [max(TOKENS // length, 1) for length in lengths]
    batches = _numbers("batch", text)
    if len(batches) not in (1, len(lengths)):
        raise UserError(f"--batch {text}: expected one number, or as many as there are lengths ({len(lengths)})")
    return batches if len(batches) == len(lengths) else batches * len(lengths)


def _backends(text: str) -> list[Any]:
    backends = _words("backend", text)
    for backend in backends:
        if backend not in attention_impls.BACKENDS:
            raise UserError(f"--backend {backend}: expected {' or '.join(attention_impls.BACKENDS)}, or both")
        require_installed(backend)
    return backends


def _choice(word: str) -> tuple[str, dict[str, Any]]:
    """softmax@local_conv=true -> the mechanism and its options; a folder is told in full, for another process."""
    name, *settings = word.split("@")
    pairs = [setting.partition("=") for setting in settings]
    if any(not sign for _, sign, _ in pairs):
        raise UserError(f"--attn {word}: expected options as name@option=value")
    options = {key.replace("-", "_"): parse_yaml(value, f"--attn {word}") for key, _, value in pairs}
    mechanism_options(name, options)
    return str(Path(name).expanduser().resolve()) if "/" in name else name, options


def _heads(flags: Any) -> dict[str, int]:
    model = resolve(TASK, "softmax", preset="standard").model
    given = {"heads": flags.heads, "head_dim": flags.head_dim}
    if flags.what != "attend" and any(given.values()):
        raise UserError(f"--heads and --head-dim are for --what attend: {flags.what} times the standard model as it is")
    sizes = {"heads": flags.heads or model.heads, "head_dim": flags.head_dim or model.width // model.heads}
    if min(sizes.values()) < 1:
        raise UserError(f"--heads {flags.heads} --head-dim {flags.head_dim}: expected numbers of at least 1")
    return sizes


def _chunk(flags: Any, length: int) -> int:
    if flags.what == "attend":
        return 1
    if flags.chunk is not None and flags.chunk < 1:
        raise UserError(f"--chunk is {flags.chunk}, expected at least 1")
    return flags.chunk or max(min(CHUNK_TOKENS // length, CHUNK), 1)


def _bytes(gigabytes: float | None) -> int | None:
    if gigabytes is not None and gigabytes <= 0:
        raise UserError(f"--memory is {gigabytes} GB, expected more than 0")
    return None if gigabytes is None else round(gigabytes * 1e9)


def _pairs(text: str | None, labels: tuple[str, ...], backends: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """The pairs asked for; by default the first mechanism with every other, and the first backend with the second."""
    if text is None:
        return tuple((names[0], other) for names in (labels, backends) for other in names[1:])
    pairs = []
    for word in _words("compare", text):
        first, _, second = word.partition(":")
        if not ({first, second} <= set(labels) or {first, second} <= set(backends)) or first == second:
            known = ", ".join(labels + (backends if len(backends) > 1 else ()))
            raise UserError(f"--compare {word}: expected FIRST:SECOND, two different ones of {known}")
        pairs.append((first, second))
    return tuple(pairs)
