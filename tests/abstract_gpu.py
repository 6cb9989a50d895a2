"""A GPU that is not there, for which JAX lowers Pallas kernels."""

from __future__ import annotations

import inspect

from jax.sharding import AbstractDevice, AbstractMesh


def h200() -> AbstractMesh:
    """A mesh on an NVIDIA H200. Older versions of JAX know no platform of an abstract device."""
    facts = {"device_kind": "NVIDIA H200", "num_cores": None, "platform": "gpu"}
    known = inspect.signature(AbstractDevice).parameters
    return AbstractMesh((), (), abstract_device=AbstractDevice(**{name: facts[name] for name in known}))
