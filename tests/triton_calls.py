"""Stand-ins for jax_triton.triton_call on a machine without a GPU: 0.3 and 0.4, with kernels in Triton's interpreter.

How arguments are bound, what is refused and what aliases what follow jax_triton/triton_lib.py of v0.3.1 and v0.4.0, and
what XLA and a GPU ask of the call. What no input aliases begins as NaN. Like the originals they can be neither mapped
by vmap nor differentiated.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
jax = pytest.importorskip("jax")
pytest.importorskip("triton", reason="Triton is for Linux")

DTYPES = ("bfloat16", "float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool")
MOST = (2**31 - 1, 65_535, 65_535)  # programs along each axis of a grid, CUDA C++ Programming Guide


class Refused(Exception):
    """jax-triton, XLA or the GPU would not take this call."""


@dataclass(frozen=True)
class Bound:
    """A call whose parameters all have something."""

    kernel: Any
    operands: dict[str, Any]
    """Arrays by the parameters that they are given for, in XLA's order."""
    outputs: dict[str, int]
    """Parameters that get an output alone, by its place in `kinds`."""
    told: dict[str, Any]
    """Numbers and constants."""
    kinds: Sequence[Any]
    aliases: Mapping[int, int]
    """The place of an operand -> that of the output that shares its memory."""

    def run(self, grid: tuple[int, ...], num_warps: int | None) -> list[Any]:
        """The outputs, as a callback of compiled code too."""
        self._check(grid, num_warps)
        names = list(self.operands)
        written = {names[operand]: output for operand, output in self.aliases.items()}

        def call(*given: Any) -> list[np.ndarray]:
            arrays = [np.array(x) for x in given]
            outs = [np.full(kind.shape, np.nan, kind.dtype) for kind in self.kinds]
            for operand, output in self.aliases.items():
                outs[output] = arrays[operand]
            memory = {name: arrays[place] for place, name in enumerate(names)} | {
                name: outs[output] for name, output in {**written, **self.outputs}.items()
            }
            self.kernel[grid](**{name: _tensor(x) for name, x in memory.items()}, **self.told)
            return outs

        return list(jax.pure_callback(call, list(self.kinds), *self.operands.values()))

    def _check(self, grid: tuple[int, ...], num_warps: int | None) -> None:
        parameters = list(inspect.signature(self.kernel.fn).parameters)
        bound = [*self.operands, *self.outputs, *self.told]
        if sorted(bound) != sorted(parameters):
            raise Refused(f"{self.kernel.fn.__name__} has {parameters}, given are {bound}")
        if len(grid) > 3 or not all(1 <= count <= most for count, most in zip(grid, MOST, strict=False)):
            raise Refused(f"grid is {grid}")
        if num_warps not in (None, 1, 2, 4, 8, 16, 32):
            raise Refused(f"num_warps is {num_warps}")
        arrays = list(self.operands.values())
        for each in (*arrays, *self.kinds):
            if str(each.dtype) not in DTYPES:
                raise Refused(f"no type of Triton for {each.dtype}")
        if len(set(self.aliases.values())) != len(self.aliases):
            raise Refused("two inputs alias one output")
        for operand, output in self.aliases.items():
            given, kind = arrays[operand], self.kinds[output]
            if (given.shape, given.dtype) != (kind.shape, kind.dtype):
                raise Refused(f"{given.shape} {given.dtype} aliases {kind.shape} {kind.dtype}")


def _tensor(x: np.ndarray) -> Any:
    """A tensor in the array's memory, which NumPy does not know of in bfloat16."""
    if x.dtype.name == "bfloat16":
        return torch.from_numpy(x.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(x)


def _parameters(kernel: Any) -> tuple[list[str], set[str]]:
    """The names of a kernel's parameters, and those of them that are constants."""
    found = inspect.signature(kernel.fn).parameters
    return list(found), {name for name, each in found.items() if "constexpr" in str(each.annotation)}


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray)


def _told(x: Any) -> Any:
    if isinstance(x, bool | int):
        return x
    raise Refused(f"{x!r} is neither an array nor a whole number; 0.3 takes a float for 64 bits")


def call_0_3(
    *args: Any,
    kernel: Any,
    out_shape: Any,
    grid: Any,
    name: str = "",
    custom_call_target_name: str = "triton_kernel_call",
    num_warps: int | None = None,
    num_stages: int | None = None,
    num_ctas: int = 1,
    compute_capability: int | None = None,
    enable_fp_fusion: bool = True,
    input_output_aliases: dict[int, int] | None = None,
    zeroed_outputs: Any = (),
    debug: bool = False,
    serialized_metadata: bytes = b"",
    **metaparams: Any,
) -> Any:
    """By place: arguments, then outputs, an aliased one too; metaparams are constants, annotated so or not."""
    names, constants = _parameters(kernel)
    if len(jax.tree.leaves(args)) != len(args):
        raise Refused("an argument is a pytree, or None, which is left out and moves all others")
    kinds, tree = jax.tree.flatten(out_shape)
    places = [*args, *kinds]
    if len(places) > len(names) or constants & set(names[: len(places)]):
        raise Refused(f"{len(places)} arguments and outputs stand in the places of {names[: len(places)]}")
    if set(metaparams) != set(names[len(places) :]):
        raise Refused(f"{sorted(metaparams)} are given for {names[len(places) :]}")
    named = dict(zip(names, args, strict=False))
    bound = Bound(
        kernel=kernel,
        operands={key: x for key, x in named.items() if _is_array(x)},
        outputs={names[len(args) + place]: place for place in range(len(kinds))},
        told={key: _told(x) for key, x in named.items() if not _is_array(x)} | metaparams,
        kinds=kinds,
        aliases=input_output_aliases or {},  # of operands alone: numbers are none
    )
    # What is written is the output's own pointer, and an aliasing input shares its memory.
    return jax.tree.unflatten(tree, bound.run(tuple(grid), num_warps))


def call_0_4(
    *args: Any,
    kernel: Any,
    out_type: Any = None,
    grid: Any,
    name: str = "",
    num_warps: int | None = None,
    num_stages: int | None = None,
    num_ctas: int | None = None,
    compute_capability: int | None = None,
    backend_options: Mapping[str, Any] | None = None,
    input_output_aliases: dict[int, int] | None = None,
    zeroed_outputs: Any = (),
    debug: bool = False,
    serialized_metadata: bytes = b"",
    cost_estimate: Any = None,
    has_side_effect: bool = False,
    **kwargs: Any,
) -> Any:
    """By name or place; outputs that no operand aliases get the parameters that are left, in their order."""
    names, constants = _parameters(kernel)
    given = {key: x for key, x in kwargs.items() if key in names}
    told = {key: x for key, x in kwargs.items() if key not in names}  # a misspelt name becomes a constant
    try:
        placed = inspect.signature(kernel.fn).bind_partial(*args, **given).arguments
    except TypeError as error:
        raise Refused(str(error)) from error
    told |= {key: x for key, x in placed.items() if key in constants}
    operands = {key: x for key, x in placed.items() if key not in constants}
    if any(x is None or isinstance(x, tuple | list | dict) for x in operands.values()):
        raise Refused("an operand is a pytree, or None")
    kinds, tree = jax.tree.flatten(out_type)
    aliases = input_output_aliases or {}
    missing = [key for key in names if key not in constants and key not in operands]
    left = [place for place in range(len(kinds)) if place not in aliases.values()]
    if len(missing) != len(left):
        raise Refused(f"out_type has {len(left)} unaliased outputs, but {missing} are missing an argument")
    listed, arrays = list(operands), {key: x for key, x in operands.items() if _is_array(x)}
    bound = Bound(
        kernel=kernel,
        operands=arrays,
        outputs=dict(zip(missing, left, strict=True)),
        told=told | {key: _told(x) for key, x in operands.items() if not _is_array(x)},
        kinds=kinds,
        aliases={list(arrays).index(listed[place]): output for place, output in aliases.items()},
    )
    return jax.tree.unflatten(tree, bound.run(tuple(grid), num_warps))


CALLS = {"0.3": call_0_3, "0.4": call_0_4}
