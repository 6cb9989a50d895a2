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
    """A constant array, which is stored but not learned."""


class Penalty(nnx.Intermediate):
    """The variable under which `nnx.capture` collects penalties of layers."""


class Parts(NamedTuple):
    """The results of a mechanism."""

    out: Float[Array, "B N H D"]
    penalty: Float[Array, " B"] | None
    """The penalty to add to the loss; None if the card has none."""
    carry: Any
    """The value for the next layer; None if the card passes nothing on."""


class Attention(nnx.Module):
    """One attention layer without projections.

        attention = Attention("elfatt", heads=8, head_dim=64, max_length=4096, block_size=128, rngs=nnx.Rngs(0))
        out = attention(q, k, v, lengths=lengths)    # q, k, v, out: (B, N, H, D), N up to max_length

    Learned arrays are nnx.Param, constant arrays are Constant; `params` and `constants` have them by the names of the
    card. `parts` also returns a mechanism's penalty and carry; `nnx.capture` collects penalties as Penalty.

    Args:
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        heads: Number of heads H.
        head_dim: Features D of one head.
        max_length: The most tokens N. Only mechanisms with arrays of that size need it.
        width: Channels C of x. Default: heads × head_dim.
        grid: (rows, columns) of the pixels that the tokens scan, for layouts of two dimensions.
        index: The layer's place in its model, counted from 0. Few mechanisms use it.
        depth: The number of layers of the model.
        dtype: The dtype of the computation. Default: that of the inputs.
        param_dtype: The dtype of the arrays.
        rngs: The random streams; arrays are drawn from `params`.
        **options: Options of the mechanism's card (`python run_lra.py list --attn elfatt` shows them).

    Raises:
        AttentionError: The mechanism or an option is impossible. It is a ValueError with one line.
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
        self._names = nnx.static((tuple(params), tuple(constants)))  # nnx.capture adds keys to the Dicts
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
        """Load the attention of one layer of a finished run, trained in either framework.

        Args:
            path: The run's record, or its best.safetensors.
            layer: The layer, counted from 0.
            grid: The grid of the run's pixels, for layouts of two dimensions.
            dtype: The dtype of the computation. Default: that of the inputs.
            param_dtype: The dtype of the arrays.

        Raises:
            AttentionError: A file is missing or does not fit.
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
        """The options, with the card's defaults."""
        return self._choice.options

    @property
    def dims(self) -> Any:
        """The sizes, as attention_impls.base.Dims."""
        return self._choice.dims

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs that the mechanism takes, of x, q, k and v."""
        return self._choice.inputs

    def load_arrays(self, params: Arrays, constants: Arrays) -> None:
        """Load arrays by their names in the card. If one does not fit, AttentionError, and none is loaded."""
        found = {name: array.shape for name, array in (params | constants).items()}
        learned, constant = self._names
        own = {name: self.params[name] for name in learned} | {name: self.constants[name] for name in constant}
        require_arrays(found, {name: variable[...].shape for name, variable in own.items()})
        for name, array in (params | constants).items():
            own[name][...] = jnp.asarray(array, own[name][...].dtype)

    def __call__(
        self,
        q: Array | None = None,  # annotated without a shape, since wrong shapes get their own message
        k: Array | None = None,
        v: Array | None = None,
        *,
        x: Array | None = None,
        lengths: Array | None = None,
        mask: Array | None = None,
        carry: Any = None,
        residual: Array | None = None,
    ) -> Float[Array, "B N H D"]:
        """Mix the tokens. Inputs have one dtype. Padding may hold any values.

        Args:
            q: Queries (B, N, H, D). Inputs that the mechanism does not take are ignored.
            k: Keys (B, N, H, D).
            v: Values (B, N, H, D).
            x: The layer's input (B, N, C), for mechanisms that take it.
            lengths: (B,) number of real tokens of each example, which come first. Default: all tokens are real.
            mask: (B, N), True where a token is real, instead of `lengths`. Real tokens form a sequence without gaps.
            carry: The `carry` of the layer below, for mechanisms that pass something on.
            residual: The residual stream (B, N, C), for mechanisms that take it.

        Returns:
            out (B, N, H, D), in the inputs' dtype, zero at padded tokens.

        Raises:
            ValueError: An input is missing or has another shape, or there are more than max_length tokens.
        """
        given = {letter: each for letter, each in {"x": x, "q": q, "k": k, "v": v}.items() if each is not None}
        taken = self._taken(given)
        restore: Restore | None = None
        if mask is not None:
            if lengths is not None:
                raise AttentionError("both lengths and mask are given: expected one of them")
            if carry is not None:
                raise AttentionError("both mask and carry are given, but carry has no gaps: give lengths, not mask")
            taken, residual, lengths, restore = compacted(taken, residual, mask, self.dims.grid)
        elif lengths is not None:
            require_lengths(lengths, taken)
        parts = self.parts(taken, lengths, carry=carry, residual=residual)
        if parts.penalty is not None and hasattr(self, "__captures__"):
            self.sow(Penalty, "penalty", parts.penalty)
        return parts.out if restore is None else restore(parts.out)

    def parts(self, inputs: Inputs, lengths: Array | None, **context: Any) -> Parts:
        """Mix inputs by letter and return output, penalty and carry.

        `context` has the fields carry, residual and drop of Layer.
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
            # One dtype for everything, as in the tests against the reference. A mechanism casts what needs another.
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
        """The dtype in which a learned array is passed: arrays of a group keep their own if it is more exact."""
        return None if dtype.itemsize < 4 and self.mechanism.card.group_of(name) else dtype

    def _taken(self, given: Inputs) -> Inputs:
        """The inputs that the mechanism takes. AttentionError if one is missing or does not fit the others."""
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
    """The card's arrays from a key. Under jit and eval_shape, NumPy draws them when the program runs."""

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
    """The array in this dtype if it has floating-point numbers. Its gradient has the array's own dtype."""
    return array.astype(dtype) if dtype is not None and jnp.issubdtype(array.dtype, jnp.floating) else array
