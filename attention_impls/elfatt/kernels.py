"""Whether ELFATT runs as fused kernels or as a composition of the framework's, decided without loading a framework."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from attention_impls.base import AttentionError

Kernel = Literal["auto", "fused", "composed"]

# What the fused kernels of a framework are written in: a package, its first version that compiles them (PyTorch 2.8
# and later bring such a Triton), and the module of it that must still be there.
LANGUAGE = {"torch": ("triton", (3, 4), "language"), "jax": ("jax", (0, 8), "experimental/pallas/triton")}
# Most features of a head: with more, a float32 tile and its D × D matrix do not fit into the registers.
MOST_FEATURES = {"float32": 64, "bfloat16": 128}
BLOCK_SIZES = range(16, 513)
# Features of a head, where not all will do: sides of Pallas' arrays are powers of two, those of products at least 16.
WIDTHS = {"jax": (16, 32, 64, 128)}


def language_found(backend: str) -> bool:
    """Whether the language of a framework's fused kernels is there, new enough; loads nothing, so looks for files."""
    if backend not in LANGUAGE:
        return False
    package, least, module = LANGUAGE[backend]
    try:
        major, minor = version(package).split(".")[:2]
    except PackageNotFoundError:
        return False
    spec = find_spec(package)
    places = [Path(folder, module) for folder in (spec and spec.submodule_search_locations) or ()]
    return (int(major), int(minor)) >= least and any(
        place.is_dir() or place.with_suffix(".py").exists() for place in places
    )


INSTALLED = {backend: language_found(backend) for backend in LANGUAGE}
"""The frameworks whose fused kernels can be compiled here. Looked up once, since a graph of torch.compile cannot."""


def kernel_used(
    kernel: Kernel,
    *,
    backend: str,
    device: str,
    dtype: str,
    head_dim: int,
    block_size: int,
    layout: str,
    installed: bool,
) -> Literal["fused", "composed"]:
    """What runs, for records; AttentionError where the fused kernels are asked for and cannot.

    device: "cpu", or "gpu" or "cuda"; dtype: as NumPy spells it; installed: whether the fused kernels' language is.
    """
    if kernel == "composed":
        return "composed"
    fits = device != "cpu" and layout == "1d" and block_size in BLOCK_SIZES and head_dim <= MOST_FEATURES.get(dtype, 0)
    fits = fits and head_dim in WIDTHS.get(backend, (head_dim,))
    if kernel == "auto":
        return "fused" if fits and installed else "composed"
    if backend not in LANGUAGE:
        raise AttentionError(f"kernel 'fused' given, which {backend} does not have: take composed, or auto")
    if not fits:
        raise AttentionError(
            f"kernel 'fused' given for {dtype} on the {device}, layout {layout}, blocks of {block_size}, {head_dim} "
            "features a head: it needs a GPU, layout 1d, blocks of 16 to 512, and bfloat16 with at most 128 features "
            "or float32 with at most 64, in jax 16, 32, 64 or 128; take auto"
        )
    if not installed:
        package, (major, minor), _ = LANGUAGE[backend]
        wanted = f"{package}>={major}.{minor}"
        raise AttentionError(
            f"kernel 'fused' given, but {wanted} is not installed: pip install '{wanted}', or take auto"
        )
    return "fused"
