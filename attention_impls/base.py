"""What an attention mechanism is: its card, the sizes it works at, and the laws it obeys.

Axis letters, here and in every annotation of this package:

    B batch, H heads, N tokens (as padded), D features of one head, C = H·D the layer's width

A mechanism is a folder with a card (`__init__.py`) and one `attend` in each of torch_impl.py, jax_impl.py and
reference.py:

    attend(q, k, v, layer) -> out

q, k, v, out: (B, N, H, D). A card that names other `inputs` gets those, in its order; x is the layer's normed input
(B, N, C). `layer` says where and with what it is called (`Layer`). All inputs are zero where there is no token. The
caller makes them so, zeroes the result there too, and refuses sequences that are too long (contract.py). A mechanism
has to give padded keys no weight. `attend` is pure and deterministic, keeps the inputs' dtype, and uses the padded
length N in no formula.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar, get_args

import numpy as np
from annotated_types import Interval

from attention_impls.citation import Citation
from attention_impls.equation import Equation

Arrays = dict[str, np.ndarray]
Options = TypeVar("Options")

# Ranges of options: lra checks what a field declares, for every way in. The longest sequence has 65,536 tokens.
Count = Annotated[int, Interval(ge=1, le=65_536)]
CountOrNone = Annotated[int, Interval(ge=0, le=65_536)]
Iterations = Annotated[int, Interval(ge=0, le=1000)]
Size = Annotated[int, Interval(ge=1)]

Group = Literal["state", "step", "kernel"]
"""Learned arrays that a training may give a learning rate and a decay of their own: the state matrix of a recurrence,
its step size, the kernel of a long convolution. `attend` is given them as they are learned, in float32 where all else
is rounded to bfloat16: a step size of two digits is another recurrence, and takes no small step."""
GROUPS: tuple[Group, ...] = get_args(Group)

Law = Literal[True] | str
"""True where the law holds, else the reason why it does not."""


class AttentionError(ValueError):
    """A mechanism, or one of its options, that cannot be had; the message is one line for the user."""


def nearest(name: object, known: Iterable[str]) -> str:
    """The words "did you mean 'softmax'? " where a known name is near, else nothing."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


@dataclass(frozen=True, kw_only=True)
class Dims:
    """The sizes one layer works at. `grid` is the (rows, columns) of the pixels that the tokens scan, if they do."""

    heads: Size
    head_dim: Size
    width: Size
    max_length: Size
    grid: tuple[Size, Size] | None = None


@dataclass(frozen=True, kw_only=True)
class Layer(Generic[Options]):
    """Where and with what an attention is called. Arrays are those of the framework at hand."""

    options: Options
    """Those of the card's `options`."""
    dims: Dims
    params: dict[str, Any]
    """Learned arrays by name, as the card's `params` made them."""
    constants: dict[str, Any]
    """Arrays that were drawn once, as the card's `constants` made them."""
    lengths: Any = None
    """(B,) int32, the real tokens come first; None: every position is real."""
    real: Any = None
    """(B, N) bool, True where a token is real; None: every position is."""
    kernel: str = ""
    """Which of several kernels runs, as the card's `kernel` says; empty where it has one."""
    index: int = 0
    """The layer's place among `depth`; 0 is the first."""
    depth: int = 1
    carry: Any = None
    """What the layer below handed on, where the card says `carries`; None in the first."""
    residual: Any = None
    """(B, N, C): the stream that the layer's output is added to, not normed, where the card wants it."""
    drop: Callable[[Any], Any] | None = None
    """Dropout of a (B, N, C) array inside the mechanism; None in evaluation, laws and parity."""


@dataclass(frozen=True, kw_only=True)
class Laws:
    """What every mechanism promises; one test a law runs over every folder. A reason switches a law off."""

    ignores_padding: Law = True
    """More padding, or other numbers in it, change nothing."""
    ignores_neighbours: Law = True
    """An example alone equals the same example in a batch."""
    finite_for_extreme_inputs: Law = True
    """In float32 the output is finite for q, k, v of size 1e4, and the gradients are for size 1e3.

    A fused softmax computes its scores again for the gradients. Above 1e8 their rounding alone may overflow exp.
    """
    gradients_reach_every_parameter: Law = True
    """No learned array and no input has a gradient that is zero everywhere."""
    accepts_any_length: Law = True
    """One set of parameters serves every length up to dims.max_length."""
    deterministic: Law = True
    """Two calls agree to the last bit."""
    shape_and_dtype_kept: Law = True
    """The output has the shape and the dtype of v."""
    cost_grows_as_claimed: Law = True
    """Matrix products cost what `operations` says, Fourier transforms what `transforms` says, recurrences what `scans`
    says, and the arrays alive at once grow as `memory` says."""


@dataclass(frozen=True, kw_only=True)
class Equality:
    """Options under which a mechanism is softmax attention (with the same `local_conv`), up to `tolerance`."""

    options: Any
    lengths: tuple[int, ...]
    tolerance: float
    why: str
    inputs: Callable[[Arrays], Arrays] = lambda arrays: arrays
    """The q, k and v of that softmax attention, from the mechanism's own inputs by letter."""


class Once(NamedTuple):
    """Work that a batch needs once, however many examples it has."""

    operations: int = 0
    """Among those of the card's `operations`."""
    transforms: int = 0
    """Among those of the card's `transforms`."""


def _nothing(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The arrays of a mechanism that has none."""
    return {}


def _anything(options: Any, dims: Dims) -> None:
    """The check of a mechanism whose every option is possible."""


def _no_transforms(options: Any, dims: Dims, length: int, ragged: bool) -> int:
    """The Fourier transforms of a mechanism that takes none."""
    return 0


def _no_scans(options: Any, dims: Dims, length: int) -> int:
    """The recurrences of a mechanism that runs none."""
    return 0


def _each_anew(options: Any, dims: Dims, length: int) -> Once:
    """What a batch needs once of a mechanism that shares nothing between examples."""
    return Once()


def _linear(options: Any, dims: Dims, length: int) -> int:
    """The memory of a mechanism that keeps a few numbers a token and feature."""
    return dims.heads * dims.head_dim * length


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A mechanism's card: everything about it but the code. Importing one loads no framework."""

    title: str
    year: int
    """When it became public; the paper's venue may be later."""
    paper: Citation | str
    """A sentence where there is no publication."""
    also: tuple[Citation, ...] = ()
    """Further papers that the code follows."""
    equations: tuple[Equation, ...] | str = ()
    """What the code computes, each with its tag; a sentence where there is no equation."""
    cost: str
    """Time of one head, for tables: "O(N·D²)"."""
    operations: Callable[[Any, Dims, int], int]
    """(options, dims, length) -> multiply-adds of all matrix products in one example's forward pass."""
    transforms: Callable[[Any, Dims, int, bool], int] = _no_transforms
    """(options, dims, length, ragged) -> floating-point operations of all Fourier transforms in one example's forward
    pass: 5 N log₂ N for N complex numbers, half for real ones. `ragged`: whether `lengths` are given."""
    scans: Callable[[Any, Dims, int], int] = _no_scans
    """(options, dims, length) -> multiply-adds of all linear recurrences in one example's forward pass, elementwise:
    one for each state and token, four where they are complex."""
    once: Callable[[Any, Dims, int], Once] = _each_anew
    """(options, dims, length) -> the work among these that examples share, such as making a kernel."""
    rounding: str = ""
    """The derived bound of results that round with the padded length; empty where each token's do not."""
    options: type
    """Frozen dataclass whose defaults are what tables show. A number declares its range: Annotated[float, Gt(0)].

    An option that comes later declares the value at which it changes nothing: field(metadata={"neutral": value}). A
    record without the option was made at that value, and tables name it so where the default is another one.
    """
    revision: int = 1
    """Raised whenever the mechanism's numbers change; a run's identity holds it."""
    memory: Callable[[Any, Dims, int], int] = _linear
    """(options, dims, length) -> elements held at once in one example's forward pass, up to a constant factor."""
    variants: Sequence[Any]
    """Options worth testing beside one another, small enough for a few dozen tokens."""
    measured: Sequence[Any] = ()
    """Options at which costs are measured, where those of `variants` are too small to be typical."""
    quadratic: bool = False
    """Whether an N × N array is allowed."""
    inputs: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = ("q", "k", "v")
    """Which of x, q, k, v `attend` takes, in its order; a callable where the options decide."""
    params: Callable[[Any, Dims, np.random.Generator], Arrays] = _nothing
    constants: Callable[[Any, Dims, np.random.Generator], Arrays] = _nothing
    groups: Mapping[str, Group] = field(default_factory=dict, hash=False)
    """The group of each learned array that its authors train otherwise than the rest, by its name in `params`, or by
    what stands before the first dot of several names."""
    check: Callable[[Any, Dims], None] = _anything
    """Raises ValueError, in one line, for options that are in their ranges and yet cannot be had at these dims."""
    differs: str = ""
    """Where this differs from the authors' code, and why."""
    laws: Laws = field(default_factory=Laws)
    equals_softmax_when: tuple[Equality, ...] = ()
    one_graph: Law = True
    """Whether torch.compile takes a layer as one graph, for lengths that may be ragged; else the reason."""
    library_softmax: str = ""
    """Why the JAX softmax is computed in float32 whatever the inputs' dtype; empty where it is not."""
    penalty: bool = False
    """Whether `attend` returns (out, penalty (B,)) for the loss."""
    residual: bool = False
    """Whether `attend` wants `layer.residual`."""
    carries: bool = False
    """Whether `attend` returns, last, a tree of arrays with a row for each example: the next layer's `carry`."""
    starts: tuple[str, ...] = ()
    """The learned arrays that the first layer alone has: what it takes where others have a `carry`."""
    kernel: Callable[..., str] | None = None
    """(options, dims, *, backend, device, dtype, ragged) -> which of several kernels runs there, for records.

    device is "cpu" or "gpu", dtype as NumPy spells it, ragged whether `lengths` are given.
    """

    @property
    def papers(self) -> tuple[Citation, ...]:
        """The paper and the further ones, as far as there are any."""
        return (*((self.paper,) if isinstance(self.paper, Citation) else ()), *self.also)

    @property
    def formulas(self) -> tuple[Equation, ...]:
        """The equations; a sentence is one without LaTeX."""
        if isinstance(self.equations, str):
            return (Equation("", "", self.equations),) if self.equations else ()
        return self.equations

    def learned(self, options: Any, dims: Dims, rng: np.random.Generator, index: int = 0) -> Arrays:
        """The `params` of the layer at that place; what it does not have is drawn all the same, so others stay."""
        made = self.params(options, dims, rng)
        return {name: array for name, array in made.items() if index == 0 or name not in self.starts}

    def parts(self, found: Any) -> tuple[Any, Any, Any]:
        """What `attend` returned as (out, penalty, carry), None for what the card does not have."""
        out, *more = found if self.penalty or self.carries else (found,)
        return out, more[0] if self.penalty else None, more[-1] if self.carries else None

    def group_of(self, name: str) -> Group | None:
        """The group of a learned array, by its name in `params`; None where it is trained as the rest is."""
        own = self.groups.get(name)
        return own if own is not None else self.groups.get(name.partition(".")[0])

    def inputs_of(self, options: Any) -> tuple[str, ...]:
        """The `inputs` under these options."""
        return self.inputs(options) if callable(self.inputs) else self.inputs
