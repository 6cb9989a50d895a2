"""The parts of an attention mechanism: its card, its sizes, and the laws that it obeys.

Axis letters, here and in every annotation of this package:

    B batch, H heads, N tokens (as padded), D features of one head, C = H·D the layer's width

A mechanism is a folder with a card (`__init__.py`) and one `attend` in each of torch_impl.py, jax_impl.py and
reference.py:

    attend(q, k, v, layer) -> out

q, k, v, out: (B, N, H, D). A card may name other `inputs`, in its order; x is the layer's normed input (B, N, C).
`layer` has the options, arrays and lengths (`Layer`). The caller sets inputs and result to zero at padded tokens, and
refuses sequences that are too long (contract.py). A mechanism must give padded keys no weight. `attend` is pure and
deterministic, keeps the inputs' dtype, and uses the padded length N in no formula.
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

# Ranges of options. Every way to set an option checks them. The longest sequence has 65,536 tokens.
Count = Annotated[int, Interval(ge=1, le=65_536)]
CountOrNone = Annotated[int, Interval(ge=0, le=65_536)]
Iterations = Annotated[int, Interval(ge=0, le=1000)]
Size = Annotated[int, Interval(ge=1)]

Group = Literal["state", "step", "kernel"]
"""Groups of learned arrays that may have their own learning rate and decay. They are the state matrix and the step size
of a recurrence, and the kernel of a long convolution. `attend` gets them in float32, even if everything else is
bfloat16. A step size with two digits would be another recurrence, and could not learn in small steps."""
GROUPS: tuple[Group, ...] = get_args(Group)

Law = Literal[True] | str
"""True if the law holds, else the reason why it does not."""


class AttentionError(ValueError):
    """A mechanism or option that is unknown or impossible. The message is one line for the user."""


def nearest(name: object, known: Iterable[str]) -> str:
    """The words "did you mean 'softmax'? " if a known name is similar, else an empty text."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"did you mean {near[0]!r}? " if near else ""


@dataclass(frozen=True, kw_only=True)
class Dims:
    """The sizes of one layer. `grid` has the (rows, columns) of the pixels if the tokens scan an image."""

    heads: Size
    head_dim: Size
    width: Size
    max_length: Size
    grid: tuple[Size, Size] | None = None


@dataclass(frozen=True, kw_only=True)
class Layer(Generic[Options]):
    """The arguments of a call of `attend` besides its inputs. Arrays are those of the framework in use."""

    options: Options
    """An instance of the card's `options`."""
    dims: Dims
    params: dict[str, Any]
    """Learned arrays by name, from the card's `params`."""
    constants: dict[str, Any]
    """Constant arrays by name, from the card's `constants`."""
    lengths: Any = None
    """(B,) int32, the number of real tokens, which come first. None: every position is real."""
    real: Any = None
    """(B, N) bool, True where a token is real. None: every position is real."""
    kernel: str = ""
    """The kernel to run, as the card's `kernel` decides; empty if the card has only one."""
    index: int = 0
    """The layer's place among `depth` layers, counted from 0."""
    depth: int = 1
    carry: Any = None
    """The carry of the layer below, if the card says `carries`; None in the first layer."""
    residual: Any = None
    """(B, N, C), the residual stream before the norm, if the card says `residual`."""
    drop: Callable[[Any], Any] | None = None
    """A function that drops elements of a (B, N, C) array; None in evaluation, laws and parity."""


@dataclass(frozen=True, kw_only=True)
class Laws:
    """The laws of every mechanism. One test for each law runs over all folders. A reason switches a law off."""

    ignores_padding: Law = True
    """More padding, or other values in it, change nothing."""
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
    """Costs are as stated: matrix products by `operations`, Fourier transforms by `transforms`, recurrences by
    `scans`; and the arrays in memory grow as `memory` says."""


@dataclass(frozen=True, kw_only=True)
class Equality:
    """Options at which a mechanism equals softmax attention (with the same `local_conv`), within `tolerance`."""

    options: Any
    lengths: tuple[int, ...]
    tolerance: float
    why: str
    inputs: Callable[[Arrays], Arrays] = lambda arrays: arrays
    """The q, k and v of the softmax attention, from the mechanism's inputs by letter."""


class Once(NamedTuple):
    """Work that is done once for a batch, for any number of examples."""

    operations: int = 0
    """Multiply-adds, a part of the card's `operations`."""
    transforms: int = 0
    """Operations of Fourier transforms, a part of the card's `transforms`."""


def _nothing(options: Any, dims: Dims, rng: np.random.Generator) -> Arrays:
    """The default of `params` and `constants`: no arrays."""
    return {}


def _anything(options: Any, dims: Dims) -> None:
    """The default of `check`: all options are possible."""


def _no_transforms(options: Any, dims: Dims, length: int, ragged: bool) -> int:
    """The default of `transforms`: no Fourier transforms."""
    return 0


def _no_scans(options: Any, dims: Dims, length: int) -> int:
    """The default of `scans`: no recurrences."""
    return 0


def _each_anew(options: Any, dims: Dims, length: int) -> Once:
    """The default of `shared`: examples share no work."""
    return Once()


def _linear(options: Any, dims: Dims, length: int) -> int:
    """The default of `memory`: a few numbers for each token and feature."""
    return dims.heads * dims.head_dim * length


@dataclass(frozen=True, kw_only=True)
class Attention:
    """A mechanism's card: everything about it except the code. Importing it loads no framework."""

    title: str
    year: int
    """The year of the first publication; the venue may be later."""
    paper: Citation | str
    """A sentence instead of a citation, if there is no publication."""
    also: tuple[Citation, ...] = ()
    """Further papers that the code follows."""
    equations: tuple[Equation, ...] | str = ()
    """The equations of the code, each with its tag; a sentence if there is no equation."""
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
    """(options, dims, length) -> the part of this work that examples share, such as making a kernel."""
    rounding: str = ""
    """The bound on rounding that depends on the padded length, with its derivation; empty without such rounding."""
    options: type
    """Frozen dataclass whose defaults are what tables show. A number declares its range: Annotated[float, Gt(0)].

    A newer option declares the value at which it changes nothing: field(metadata={"neutral": value}). A record without
    the option was made at that value, and tables name the value if the default is another one.
    """
    revision: int = 1
    """The revision; it rises whenever the mechanism's numbers change, and enters the id of runs."""
    memory: Callable[[Any, Dims, int], int] = _linear
    """(options, dims, length) -> elements in memory during one example's forward pass, up to a constant factor."""
    variants: Sequence[Any]
    """Options for the tests, small enough for a few dozen tokens."""
    measured: Sequence[Any] = ()
    """Options for measurements of costs, if those in `variants` are too small to be typical."""
    quadratic: bool = False
    """Whether an N × N array is allowed."""
    inputs: tuple[str, ...] | Callable[[Any], tuple[str, ...]] = ("q", "k", "v")
    """The inputs of `attend`, of x, q, k and v, in its order; a callable if the options decide."""
    params: Callable[[Any, Dims, np.random.Generator], Arrays] = _nothing
    constants: Callable[[Any, Dims, np.random.Generator], Arrays] = _nothing
    groups: Mapping[str, Group] = field(default_factory=dict, hash=False)
    """The group of each learned array with its own learning rate or decay. The key is its name in `params`, or the
    part before the first dot of several names."""
    check: Callable[[Any, Dims], None] = _anything
    """Raises ValueError, in one line, for options that are within their ranges but impossible at these dims."""
    differs: str = ""
    """The differences to the authors' code, with reasons."""
    laws: Laws = field(default_factory=Laws)
    equals_softmax_when: tuple[Equality, ...] = ()
    one_graph: Law = True
    """True if torch.compile makes one graph of a layer, also for ragged lengths; else the reason."""
    penalty: bool = False
    """Whether `attend` returns (out, penalty (B,)) for the loss."""
    residual: bool = False
    """Whether `attend` needs `layer.residual`."""
    carries: bool = False
    """Whether the last result of `attend` is a tree of arrays with a row for each example, the next layer's `carry`."""
    starts: tuple[str, ...] = ()
    """The learned arrays that only the first layer has, which it uses instead of a `carry`."""
    kernel: Callable[..., str] | None = None
    """(options, dims, *, backend, device, dtype, ragged) -> the name of the kernel that runs, for records.

    device is "cpu" or "gpu", dtype as NumPy spells it, ragged whether `lengths` are given.
    """

    @property
    def papers(self) -> tuple[Citation, ...]:
        """All papers of the card, in order."""
        return (*((self.paper,) if isinstance(self.paper, Citation) else ()), *self.also)

    @property
    def formulas(self) -> tuple[Equation, ...]:
        """The equations. A sentence becomes an equation without LaTeX."""
        if isinstance(self.equations, str):
            return (Equation("", "", self.equations),) if self.equations else ()
        return self.equations

    def learned(self, options: Any, dims: Dims, rng: np.random.Generator, index: int = 0) -> Arrays:
        """The `params` of a layer. Arrays that it does not have are drawn too, so that the others do not change."""
        made = self.params(options, dims, rng)
        return {name: array for name, array in made.items() if index == 0 or name not in self.starts}

    def parts(self, found: Any) -> tuple[Any, Any, Any]:
        """The results of `attend` as (out, penalty, carry), with None for parts that the card does not have."""
        out, *more = found if self.penalty or self.carries else (found,)
        return out, more[0] if self.penalty else None, more[-1] if self.carries else None

    def group_of(self, name: str) -> Group | None:
        """The group of a learned array, by its name in `params`; None without a group."""
        own = self.groups.get(name)
        return own if own is not None else self.groups.get(name.partition(".")[0])

    def inputs_of(self, options: Any) -> tuple[str, ...]:
        """The `inputs` under these options."""
        return self.inputs(options) if callable(self.inputs) else self.inputs
