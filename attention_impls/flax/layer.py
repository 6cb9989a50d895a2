"""A mechanism as a flax.nnx.Module, which our own encoder uses too."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.core import Tracer
from jaxtyping import Array, Float

from attention_impls import Mechanism
from attention_impls.base import Arrays, AttentionError
from attention_impls.choice import Choice, choose
from attention_impls.flax.masks import Restore, compacted, require_lengths
from attention_impls.saved import read_run, require_arrays

Inputs = dict[str, Array]


class Constant(nnx.Variable):
    """An array that is drawn and stored, but not learned."""


class Penalty(nnx.Intermediate):
    """What `nnx.capture` collects of the layers that add something to the loss."""


class Parts(NamedTuple):
    """What a mechanism gives."""

    out: Float[Array, "B N H D"]
    penalty: Float[Array, " B"] | None
    """To be added to the loss; None where the card has none."""
    carry: Any
    """For the next layer; None where the card hands nothing on."""


class Attention(nnx.Module):
    """One attention layer without projections.

        attention = Attention("elfatt", heads=8, head_dim=64, max_length=4096, block_size=128, rngs=nnx.Rngs(0))
        out = attention(q, k, v, lengths=lengths)    # q, k, v, out: (B, N, H, D), N up to max_length

    `mechanism` is a name, a name with options (elfatt@block_size=64), or the path of a folder with a slash. Options
    are those of its card (`python run_lra.py list --attn elfatt`). `max_length` may be left out for a mechanism that
    has no array of that size. `width` is the channels C of x, by default heads × head_dim; `grid` the (rows, columns)
    of the pixels that the tokens scan, for layouts of two dimensions; `index` and `depth` the layer's place in its
    model, for the mechanisms that look at it.

    Learned arrays are nnx.Param, those drawn once are Constant; `params` and `constants` have them by the names of the
    card. They are drawn from the stream `params` of `rngs`, in `param_dtype`; `dtype` is what is computed in, by
    default the dtype of the inputs. What a mechanism adds to the loss, and what it hands to the next layer, `parts`
    returns; `nnx.capture` collects the former as Penalty.

    AttentionError, a ValueError in one line, for a mechanism or an option that cannot be had. Equations, citations and
    costs: attention_impls/README.md.
    """

    def __init__(
        self,
        mechanism: str | Mechanism,
        *,
        heads: int,
        head_dim: int,
        max_length: int | None = None,
        width: int | None = None,
        grid: tuple[int, int] | None = None,
        index: int = 0,
        depth: int = 1,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ) -> None:
        sizes = {"heads": heads, "head_dim": head_dim, "max_length": max_length, "width": width, "grid": grid}
        self._choice = nnx.static(choose(mechanism, "jax", options, **sizes))
        self._place = nnx.static((index, depth))
        self._dtype = dtype
        params, constants = _drawn(self._choice, rngs.params(), index, param_dtype)
        self._names = nnx.static((tuple(params), tuple(constants)))  # nnx.capture adds to what a Dict iterates over
        self.params = nnx.Dict({name: nnx.Param(array) for name, array in params.items()})
        self.constants = nnx.Dict({name: Constant(array) for name, array in constants.items()})

    @classmethod
    def from_run(
        cls,
        path: Path | str,
        layer: int = 0,
        *,
        grid: tuple[int, int] | None = None,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
    ) -> Attention:
        """The attention of one layer of a trained run, of either framework, from its record or best.safetensors.

        attention_impls/saved.py says what is read; AttentionError where a file is missing or does not fit.
        """
        run = read_run(path, layer, grid)
        kind = {"dtype": dtype, "param_dtype": param_dtype, "rngs": nnx.Rngs(0)}
        made = cls(run.mechanism, **run.sizes, **run.options, **kind)
        made.load_arrays(run.params, run.constants)
        return made

    @property
    def mechanism(self) -> Mechanism:
        """The mechanism, with its card."""
        return self._choice.mechanism

    @property
    def options(self) -> Any:
        """Its options, those of the card where none were given."""
        return self._choice.options

    @property
    def dims(self) -> Any:
        """Its sizes, as attention_impls.base.Dims."""
        return self._choice.dims

    @property
    def inputs(self) -> tuple[str, ...]:
        """Which of x, q, k, v it takes."""
        return self._choice.inputs

    def load_arrays(self, params: Arrays, constants: Arrays) -> None:
        """Take over arrays by their names in the card; AttentionError, and nothing taken, where one does not fit."""
        found = {name: array.shape for name, array in (params | constants).items()}
        learned, constant = self._names
        own = {name: self.params[name] for name in learned} | {name: self.constants[name] for name in constant}
        require_arrays(found, {name: variable[...].shape for name, variable in own.items()})
        for name, array in (params | constants).items():
            own[name][...] = jnp.asarray(array, own[name][...].dtype)

    def __call__(
        self,
        q: Array | None = None,  # of any shape for annotations, since what does not fit gets a line of its own
        k: Array | None = None,
        v: Array | None = None,
        *,
        x: Array | None = None,
        lengths: Array | None = None,
        mask: Array | None = None,
        carry: Any = None,
        residual: Array | None = None,
    ) -> Float[Array, "B N H D"]:
        """out (B, N, H, D), in the inputs' dtype, zero where there is no token; what stands there is never seen.

        q, k, v, x: those that the mechanism takes; one that it does not take may be given or left out. They have one
        dtype. lengths: (B,), how many tokens of each example are real, which come first. mask: (B, N), True where a
        token is real, in its place; the real tokens are then attended to as a sequence without gaps. Neither: every
        token is real. carry, residual: what a card that says so is given.

        ValueError for an input that is missing or of another shape, and more than max_length tokens.
        """
        given = {letter: each for letter, each in {"x": x, "q": q, "k": k, "v": v}.items() if each is not None}
        taken = self._taken(given)
        restore: Restore | None = None
        if mask is not None:
            if lengths is not None:
                raise AttentionError("lengths and mask given, expected one of them")
            if carry is not None:
                raise AttentionError("mask and carry given: give lengths, what is handed on has no gaps")
            taken, residual, lengths, restore = compacted(taken, residual, mask, self.dims.grid)
        elif lengths is not None:
            require_lengths(lengths, taken)
        parts = self.parts(taken, lengths, carry=carry, residual=residual)
        if parts.penalty is not None and hasattr(self, "__captures__"):
            self.sow(Penalty, "penalty", parts.penalty)
        return parts.out if restore is None else restore(parts.out)

    def parts(self, inputs: Inputs, lengths: Array | None, **context: Any) -> Parts:
        """The same for inputs by letter: output, penalty and carry.

        `context` is what Layer has of carry, residual and drop.
        """
        taken = [_as(inputs[letter], self._dtype) for letter in self._choice.inputs]
        dtype = taken[0].dtype
        if context.get("residual") is not None:
            context["residual"] = _as(context["residual"], dtype)
        index, depth = self._place
        learned, constant = self._names
        found = self._choice.attend(
            *taken,
            lengths=lengths,
            # Everything in one dtype, as a mechanism is held to its reference; it says itself what needs another.
            params={name: _as(self.params[name][...], self._dtype_of(name, dtype)) for name in learned},
            constants={name: _as(self.constants[name][...], dtype) for name in constant},
            options=self.options,
            dims=self.dims,
            index=index,
            depth=depth,
            **context,
        )
        return Parts(*self.mechanism.card.parts(found))

    def _dtype_of(self, name: str, dtype: Any) -> Any:
        """What a learned array is given in: its own where it is of a group and that may have more digits."""
        return None if dtype.itemsize < 4 and self.mechanism.card.group_of(name) else dtype

    def _taken(self, given: Inputs) -> Inputs:
        """The inputs that the mechanism takes; AttentionError where one is missing or unlike the others."""
        wanted, dims = self._choice.inputs, self.dims
        if missing := [letter for letter in wanted if letter not in given]:
            raise AttentionError(f"{self.mechanism.name} takes {', '.join(wanted)}: {missing[0]} is missing")
        first = given[wanted[0]]
        batch, tokens = (*first.shape, 0, 0)[:2]
        for letter in wanted:
            shape = (batch, tokens, dims.width) if letter == "x" else (batch, tokens, dims.heads, dims.head_dim)
            _require_shape(letter, given[letter], shape)
            if given[letter].dtype != first.dtype and self._dtype is None:
                raise AttentionError(
                    f"{wanted[0]} is {first.dtype}, {letter} is {given[letter].dtype}: give all in one dtype"
                )
        return {letter: given[letter] for letter in wanted}


def _require_shape(letter: str, array: Array, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape or not jnp.issubdtype(array.dtype, jnp.floating):
        axes = "(B, N, C)" if letter == "x" else "(B, N, H, D)"
        raise AttentionError(
            f"{letter} is {array.dtype} of shape {tuple(array.shape)}, expected floating point of {axes} = {shape}"
        )


def _drawn(choice: Choice, key: Array, index: int, dtype: Any) -> tuple[dict[str, Array], dict[str, Array]]:
    """The card's arrays from a key; under jit and eval_shape NumPy draws them when the program runs."""

    def draw(words: Any) -> list[Arrays]:
        drawn = choice.arrays(np.asarray(words, np.uint32).ravel(), index)
        return [{name: np.asarray(array, dtype) for name, array in each.items()} for each in drawn]

    words = jax.random.key_data(key)
    if isinstance(words, Tracer):
        params, constants = jax.pure_callback(draw, jax.eval_shape(lambda: draw(np.zeros(words.shape))), words)
    else:
        params, constants = jax.tree.map(jnp.asarray, draw(words))
    return params, constants


def _as(array: Array, dtype: Any) -> Array:
    """The array in that dtype, if it holds numbers that have one; its gradient comes back in the array's own."""
    return array.astype(dtype) if dtype is not None and jnp.issubdtype(array.dtype, jnp.floating) else array
