"""The devices that share each batch in JAX: a mesh of one axis. Rows are cut along it, everything else is on each.

What a device computes of its rows is written out (jax.shard_map), and so is the one sum over the devices a step. The
compiler's own partitioning would gather whole batches where it cannot cut an operation, as a sort, an FFT or a kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as Spec

from lra.core.errors import DeviceFailed, is_out_of_memory, shortened

AXIS = "devices"
WHOLE, EACH = Spec(), Spec(AXIS)
"""An array that every device has; one whose first axis has an entry for each device."""


class Devices:
    """One device, or several; `seeds` says whether arrays have an axis of seeds before that of rows."""

    def __init__(self, devices: Sequence[Any], *, seeds: bool) -> None:
        self.all = tuple(devices)
        self.several = len(self.all) > 1
        self._mesh = Mesh(np.array(self.all), (AXIS,))
        self.rows = Spec(None, AXIS) if seeds else EACH
        self.rows_of_steps = Spec(None, *self.rows)

    def put(self, tree: Any, specs: Any = WHOLE) -> Any:
        """The arrays on the devices, cut as `specs` say, a prefix of the tree."""
        if not self.several:
            return jax.device_put(tree, self.all[0])
        places = jax.tree.map(
            lambda spec: NamedSharding(self._mesh, spec), specs, is_leaf=lambda spec: isinstance(spec, Spec)
        )
        return jax.device_put(tree, places)

    def over(self, call: Callable[..., Any], given: Any, found: Any) -> Callable[..., Any]:
        """The call on every device with its part of the arrays, which are cut as `given` and its results as `found`."""
        if not self.several:
            return call
        # Kernels cannot say along which axes their results differ, so that is not checked.
        return jax.shard_map(call, mesh=self._mesh, in_specs=given, out_specs=found, check_vma=False)

    def apart(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with a first axis added to its results, for EACH."""
        if not self.several:
            return call
        return lambda *given: jax.tree.map(lambda array: array[None], call(*given))

    def added(self, parts: list[Any]) -> list[Any]:
        """Results of `apart`, added by the host: one for all devices and all parts.

        With collectives, several programs of a CPU could take all threads of its pool. Each would then wait for one
        that gets no thread.
        """
        if not self.several:
            return parts
        return [jax.tree.map(lambda *each: np.sum(each, (0, 1)), *jax.device_get(parts))]

    def sum(self, tree: Any) -> Any:
        """Sums over the devices, inside of `over`."""
        return jax.lax.psum(tree, AXIS) if self.several else tree

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Within this context, a failed device raises DeviceFailed. A lack of memory is raised unchanged."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if not self.several or is_out_of_memory(error):
                raise
            said = shortened(" ".join(str(error).split()))
            raise DeviceFailed(f"one of {len(self.all)} devices failed: {said}") from error
