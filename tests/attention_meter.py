"""What one example's forward pass costs, read off its graph for any length; nothing is run, nothing is allocated."""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from attention_cases import Case, Inputs, dims_for, draw, jax_call, keywords_of

from attention_impls.ops.fourier import transform_operations
from attention_impls.ops.scan import scan_operations


@dataclass(frozen=True)
class Footprint:
    """Costs of one forward pass; arrays that the caller holds (inputs, parameters, constants) do not count."""

    multiply_adds: int
    """In matrix products."""
    transforms: int
    """Floating-point operations of Fourier transforms, 5 N log₂ N for N complex numbers, half for real ones."""
    scans: int
    """Multiply-adds of linear recurrences, elementwise: one for each state and token, four where they are complex."""
    largest: int
    """Elements of the largest array on the way."""
    peak: int
    """Elements of all arrays that are alive at once, at most."""


def footprint(case: Case, backend: str, tokens: int, max_length: int) -> Footprint:
    """The cost of one example of `tokens` tokens with arrays made for `max_length`, two heads of eight features."""
    pytest.importorskip(backend)
    inputs = draw(case, 1, (1,), dims=dims_for(max_length, heads=2))
    return {"torch": _torch_footprint, "jax": _jax_footprint}[backend](case, inputs, tokens)


def _jax_footprint(case: Case, inputs: Inputs, tokens: int) -> Footprint:
    import jax
    import jax.numpy as jnp

    def shapes(arrays: dict[str, np.ndarray], *lead: int) -> dict[str, Any]:
        return {name: jax.ShapeDtypeStruct((*lead, *a.shape[len(lead) :]), jnp.float32) for name, a in arrays.items()}

    call = jax_call(case.mechanism.attend("jax"), case, inputs.dims)
    arrays = [shapes(inputs.arrays, 1, tokens), shapes(inputs.params), shapes(inputs.constants)]
    traced = call.trace(*arrays, jax.ShapeDtypeStruct((1,), jnp.int32), None)
    return jaxpr_footprint(traced.jaxpr.jaxpr)


def jaxpr_footprint(jaxpr: Any) -> Footprint:
    """Multiply-adds, the largest array and the peak of live elements, as if every equation kept its own outputs.

    A value is alive from its equation to the last one that reads it. XLA fuses what it can, so this bounds the
    compiled code from above, whatever the device.
    """
    last = {var: i for i, equation in enumerate(jaxpr.eqns) for var in _variables(equation.invars)}
    last |= dict.fromkeys(_variables(jaxpr.outvars), len(jaxpr.eqns))
    products, transforms, scans, largest, live, peak = 0, 0, 0, 0, 0, 0
    own: dict[Any, int] = {}
    for i, equation in enumerate(jaxpr.eqns):
        sizes = {out: math.prod(out.aval.shape) for out in equation.outvars}
        inner = [jaxpr_footprint(body) for body in _bodies(equation.params)]
        loops = equation.primitive.name in ("scan", "while")
        within = max((each.peak for each in inner), default=0)
        # A loop stacks its outputs beside what its body holds; any other body's results are the equation's own.
        peak = max(peak, live + (sum(sizes.values()) + within if loops else max(sum(sizes.values()), within)))
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        products += _products(equation) + times * sum(each.multiply_adds for each in inner)
        transforms += _transforms(equation) + times * sum(each.transforms for each in inner)
        scans += _scans(equation) + times * sum(each.scans for each in inner)
        largest = max([largest, *sizes.values(), *(each.largest for each in inner)])
        own |= sizes
        live += sum(size for out, size in sizes.items() if last.get(out, i) > i)
        live -= sum(own[var] for var in set(_variables(equation.invars)) if var in own and last[var] == i)
    return Footprint(products, transforms, scans, largest, peak)


def _variables(values: Any) -> Iterator[Any]:
    """The variables among an equation's inputs; literals are none."""
    return (value for value in values if not hasattr(value, "val"))


def _products(equation: Any) -> int:
    if equation.primitive.name != "dot_general":
        return 0
    (contracted, _), _ = equation.params["dimension_numbers"]
    depth = math.prod(equation.invars[0].aval.shape[axis] for axis in contracted)
    return depth * math.prod(equation.outvars[0].aval.shape)


def _transforms(equation: Any) -> int:
    """Operations of an FFT over one axis, the last."""
    if equation.primitive.name != "fft":
        return 0
    [length] = equation.params["fft_lengths"]
    lead = math.prod(equation.invars[0].aval.shape[:-1])
    return transform_operations(length, lead, real=equation.params["fft_type"] in (2, 3))


def _scans(equation: Any) -> int:
    """Multiply-adds of a recurrence, by the name of the function that runs it and the shape of its states."""
    if equation.params.get("name") not in ("states_of", "next_state") or not equation.outvars:
        return 0
    states = equation.outvars[0].aval
    return _recurrence(states.shape, of_complex=states.dtype.kind == "c")


def _recurrence(shape: Sequence[int], *, of_complex: bool) -> int:
    """Multiply-adds for inputs (B, N, …)."""
    return scan_operations(math.prod(shape) // max(shape[1], 1), shape[1], of_complex=of_complex)


def _bodies(params: dict[str, Any]) -> list[Any]:
    """The jaxprs inside an equation's parameters."""
    found = [item for value in params.values() for item in (value if isinstance(value, tuple | list) else [value])]
    return [getattr(item, "jaxpr", item) for item in found if hasattr(getattr(item, "jaxpr", item), "eqns")]


def _torch_footprint(case: Case, inputs: Inputs, tokens: int) -> Footprint:
    """On tensors that claim to be on the CPU and hold nothing, so that the CPU's fused kernels are chosen."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

    def empty(arrays: dict[str, np.ndarray], *lead: int) -> dict[str, torch.Tensor]:
        return {name: torch.empty(*lead, *array.shape[len(lead) :]) for name, array in arrays.items()}

    # The counter knows the fused attention of GPUs only.
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    missing = {fused: lambda q, k, v, *args, **keywords: sdpa_flop_count(q, k, v)}
    missing |= torch_transforms() | torch_scans()
    attend, letters = case.mechanism.attend("torch"), case.mechanism.card.inputs_of(case.options)
    with FakeTensorMode(), torch.no_grad():
        params, constants = empty(inputs.params), empty(inputs.constants)
        given, lengths = empty(inputs.arrays, 1, tokens), torch.empty(1, dtype=torch.int32)
        keywords = keywords_of(case, inputs) | {"params": params, "constants": constants}
        live = live_elements([lengths, *given.values(), *params.values(), *constants.values()])
        with FlopCounterMode(display=False, custom_mapping=missing) as flops, live:
            attend(*(given[letter] for letter in letters), residual=given.get("residual"), lengths=lengths, **keywords)
    counted = flops.get_flop_counts()["Global"]
    transforms = sum(count for op, count in counted.items() if "_fft_" in str(op))
    selective = sum(count for op, count in counted.items() if "selective_scan" in str(op)) // 2  # the rest is products
    scans = sum(count for op, count in counted.items() if "linear_scan" in str(op)) + selective
    short_convolutions = sum(count for op, count in counted.items() if "convolution" in str(op))
    products = (sum(counted.values()) - transforms - scans - short_convolutions) // 2
    return Footprint(products, transforms, scans // 2, live.largest, live.peak)


def torch_transforms() -> dict[Any, Any]:
    """What PyTorch's counter lacks: FFTs over one axis, by the shapes of their inputs and outputs."""
    import torch

    def counts(real: bool) -> Any:
        def count(shape: Any, axes: list[int], *rest: Any, out_shape: Any, **keywords: Any) -> int:
            [axis] = axes
            length = max(shape[axis], out_shape[axis])
            return transform_operations(length, math.prod(shape) // shape[axis], real=real)

        return count

    aten = torch.ops.aten
    return {aten._fft_c2c: counts(False), aten._fft_r2c: counts(True), aten._fft_c2r: counts(True)}


def torch_scans() -> dict[Any, Any]:
    """What PyTorch's counter lacks: linear recurrences, two operations for a multiply-add."""
    import torch

    from attention_impls.ops import scan_torch, selective_torch  # noqa: F401, they define the operators

    def count(decay: torch.Tensor, inputs: torch.Tensor, *rest: Any, **keywords: Any) -> int:
        return 2 * _recurrence(inputs.shape, of_complex=inputs.dtype.is_complex)

    def selective(step: torch.Tensor, driven: torch.Tensor, a: torch.Tensor, *rest: Any, **keywords: Any) -> int:
        """The recurrence, and a product of as many multiply-adds that reads its states."""
        return 4 * _recurrence((*step.shape, a.shape[1]), of_complex=False)

    count._get_raw = selective._get_raw = True  # the tensors and not their shapes, for their dtype
    ops = torch.ops.attention_impls
    return {ops.linear_scan: count, ops.selective_scan: selective}


def live_elements(held: list[Any]) -> Any:
    """A mode that follows every storage made under it, from the operation that makes it until nothing holds it."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode

    class LiveElements(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.live = self.peak = self.largest = 0
            self.known = weakref.WeakSet(tensor.untyped_storage() for tensor in held)

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            for one in out if isinstance(out, tuple | list) else (out,):
                if isinstance(one, torch.Tensor) and one.untyped_storage() not in self.known:
                    self._follow(one)
            return out

        def _follow(self, tensor: torch.Tensor) -> None:
            storage = tensor.untyped_storage()
            elements = storage.nbytes() // tensor.element_size()
            self.known.add(storage)
            self.largest, self.live = max(self.largest, elements), self.live + elements
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._drop, elements).atexit = False

        def _drop(self, elements: int) -> None:
            self.live -= elements

    return LiveElements()
