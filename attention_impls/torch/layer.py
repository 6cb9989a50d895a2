"""A mechanism as a torch.nn.Module, which our own encoder uses too."""

from __future__ import annotations

from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_impls import Mechanism
from attention_impls.base import Arrays, AttentionError
from attention_impls.choice import choose
from attention_impls.saved import read_run, require_arrays
from attention_impls.torch.masks import Restore, compacted, require_lengths

Inputs = dict[str, Tensor]


class Parts(NamedTuple):
    """The results of a mechanism."""

    out: Float[Tensor, "B N H D"]
    penalty: Float[Tensor, " B"] | None
    """The penalty to add to the loss; None if the card has none."""
    carry: Any
    """The value for the next layer; None if the card passes nothing on."""


class Attention(nn.Module):
    """One attention layer without projections.

        attention = Attention("elfatt", heads=8, head_dim=64, max_length=4096, block_size=128)
        out = attention(q, k, v, lengths=lengths)    # q, k, v, out: (B, N, H, D), N up to max_length

    Learned arrays are parameters, constant arrays are buffers; both have the names of the card. After a call,
    `penalty` (B,) must be added to the loss, and `carry` given to the next layer; None if the card has none.

    Args:
        mechanism: A name, a name with options (elfatt@block_size=64), or the path of a folder with a slash.
        heads: Number of heads H.
        head_dim: Features D of one head.
        max_length: The most tokens N. Only mechanisms with arrays of that size need it.
        width: Channels C of x. Default: heads × head_dim.
        grid: (rows, columns) of the pixels that the tokens scan, for layouts of two dimensions.
        index: The layer's place in its model, counted from 0. Few mechanisms use it.
        depth: The number of layers of the model.
        seed: The seed of the arrays. Default: PyTorch's generator.
        device: The device of the arrays.
        dtype: The dtype of the arrays. Default: PyTorch's default dtype.
        **options: Options of the mechanism's card (`python run_lra.py list --attn elfatt` shows them).

    Raises:
        AttentionError: The mechanism or an option is impossible. It is a ValueError with one line.
    """

    penalty: Float[Tensor, " B"] | None
    carry: Any

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
        seed: int | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        sizes = {"heads": heads, "head_dim": head_dim, "max_length": max_length, "width": width, "grid": grid}
        self._choice = choose(mechanism, "torch", options, **sizes)
        self._place = {"index": index, "depth": depth}
        self.penalty = self.carry = None
        drawn = self._choice.arrays(_seed() if seed is None else seed, index)
        kind = {"device": device, "dtype": dtype or torch.get_default_dtype()}
        self._params, self._constants = (tuple(arrays) for arrays in drawn)
        for arrays, learned in zip(drawn, (True, False), strict=True):
            for name, array in arrays.items():
                _put(self, name, torch.tensor(array, **kind).contiguous(), learned)

    @classmethod
    def from_run(
        cls,
        path: Path | str,
        layer: int = 0,
        *,
        grid: tuple[int, int] | None = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Attention:
        """Load the attention of one layer of a finished run, trained in either framework.

        Args:
            path: The run's record, or its best.safetensors.
            layer: The layer, counted from 0.
            grid: The grid of the run's pixels, for layouts of two dimensions.
            device: The device of the arrays.
            dtype: The dtype of the arrays.

        Raises:
            AttentionError: A file is missing or does not fit.
        """
        run = read_run(path, layer, grid)
        made = cls(run.mechanism, **run.sizes, **run.options, seed=0, device=device, dtype=dtype)
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
        own = {name: self._array(name) for name in (*self._params, *self._constants)}
        require_arrays(found, {name: tuple(tensor.shape) for name, tensor in own.items()})
        with torch.no_grad():
            for name, array in (params | constants).items():
                own[name].copy_(torch.tensor(array))

    def forward(
        self,
        q: Tensor | None = None,  # annotated without a shape, since wrong shapes get their own message
        k: Tensor | None = None,
        v: Tensor | None = None,
        *,
        x: Tensor | None = None,
        lengths: Tensor | None = None,
        mask: Tensor | None = None,
        carry: Any = None,
        residual: Tensor | None = None,
    ) -> Float[Tensor, "B N H D"]:
        """Mix the tokens. Inputs have one dtype (autocast's, under autocast). Padding may hold any values.

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
        self.penalty, self.carry = parts.penalty, parts.carry
        return parts.out if restore is None else restore(parts.out)

    def parts(self, inputs: Inputs, lengths: Tensor | None, **context: Any) -> Parts:
        """Mix inputs by letter and return output, penalty and carry, without storing them in the module.

        `context` has the fields carry, residual and drop of Layer.
        """
        device = inputs[self._choice.inputs[0]].device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        taken = [_as(inputs[letter], dtype) for letter in self._choice.inputs]
        dtype = taken[0].dtype
        if context.get("residual") is not None:
            context["residual"] = _as(context["residual"], dtype)
        # One dtype for everything, as in the tests against the reference. A mechanism casts what needs another.
        with torch.autocast(device, enabled=False):
            found = self._choice.attend(
                *taken,
                lengths=lengths,
                params={name: _as(self._array(name), self._dtype_of(name, dtype)) for name in self._params},
                constants={name: _as(self._array(name), dtype) for name in self._constants},
                options=self.options,
                dims=self.dims,
                **self._place,
                **context,
            )
        return Parts(*self.mechanism.card.parts(found))

    def extra_repr(self) -> str:
        """The mechanism, options and sizes, for print."""
        return str(self._choice)

    def __getstate__(self) -> dict[str, Any]:
        """The state without the last call's penalty and carry: they belong to a graph, which cannot be copied."""
        return self.__dict__ | {"penalty": None, "carry": None}

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
            if given[letter].dtype != first.dtype and not torch.is_autocast_enabled(first.device.type):
                raise AttentionError(
                    f"{wanted[0]} is {first.dtype}, {letter} is {given[letter].dtype}: give all in one dtype"
                )
        return {letter: given[letter] for letter in wanted}

    def _dtype_of(self, name: str, dtype: torch.dtype) -> torch.dtype | None:
        """The dtype in which a learned array is passed: arrays of a group keep their own if it is more precise."""
        return None if dtype.itemsize < 4 and self.mechanism.card.group_of(name) else dtype

    def _array(self, name: str) -> Tensor:
        return reduce(getattr, name.split("."), self)  # pyright: ignore[reportArgumentType, reportReturnType]


def _require_shape(letter: str, array: Tensor, shape: tuple[int, ...]) -> None:
    if tuple(array.shape) != shape or not array.is_floating_point():
        axes = "(B, N, C)" if letter == "x" else "(B, N, H, D)"
        raise AttentionError(
            f"{letter} is {array.dtype} of shape {tuple(array.shape)}, expected floating point of {axes} = {shape}"
        )


def _put(module: nn.Module, name: str, tensor: Tensor, learned: bool) -> None:
    """A parameter or a buffer, whose name may be a path: local_conv.weight is in a module local_conv."""
    *path, own = name.split(".")
    try:
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        if learned:
            module.register_parameter(own, nn.Parameter(tensor))
        else:
            module.register_buffer(own, tensor)
    except KeyError as error:
        raise AttentionError(f"array {name} is impossible in PyTorch ({error}): give it another name") from error


def _as(array: Tensor, dtype: torch.dtype | None) -> Tensor:
    """The array in this dtype if it has floating-point numbers. Its gradient has the array's own dtype."""
    return array if dtype is None or not array.is_floating_point() else array.to(dtype)


def _seed() -> int:
    """A seed from PyTorch's CPU generator, which torch.manual_seed decides."""
    return int(torch.randint(2**31, (), device="cpu"))
