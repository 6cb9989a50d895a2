"""Whether ELFATT runs as fused kernels or as a composition of the framework's, decided without loading a framework."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from attention_impls.base import AttentionError

Kernel = Literal["auto", "fused", "composed", "jax_triton"]
Used = Literal["fused", "composed", "jax_triton"]


@dataclass(frozen=True)
class Language:
    """What fused kernels are written in or come by."""

    package: str
    least: tuple[int, int]
    """Its first version that compiles them."""
    inside: str
    """A package that is imported, and a module of it that must still be there."""

    @property
    def found(self) -> bool:
        """Whether it is there, new enough; loads nothing, so looks for files."""
        try:
            major, minor = version(self.package).split(".")[:2]
        except PackageNotFoundError:
            return False
        top, _, module = self.inside.partition("/")
        spec = find_spec(top)
        places = [Path(folder, module) for folder in (spec and spec.submodule_search_locations) or ()]
        there = any(place.is_dir() or place.with_suffix(".py").exists() for place in places)
        return (int(major), int(minor)) >= self.least and there

    def __str__(self) -> str:
        return f"{self.package}>={self.least[0]}.{self.least[1]}"


# By (kernel, framework). PyTorch 2.8 and later bring such a Triton.
LANGUAGES = {
    ("fused", "torch"): Language("triton", (3, 4), "triton/language"),
    ("fused", "jax"): Language("jax", (0, 8), "jax/experimental/pallas/triton"),
    ("jax_triton", "jax"): Language("jax-triton", (0, 3), "jax_triton/triton_lib"),
}
# Most features of a head: with more, a float32 tile and its D × D matrix do not fit into the registers.
MOST_FEATURES = {"float32": 64, "bfloat16": 128}
BLOCK_SIZES = range(16, 513)
# Features of a head, where not all will do: sides of Pallas' arrays are powers of two, those of products at least 16.
WIDTHS = {("fused", "jax"): (16, 32, 64, 128)}

INSTALLED = {way: language.found for way, language in LANGUAGES.items()}
"""The fused kernels that can be compiled here. Looked up once, since a graph of torch.compile cannot."""


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
) -> Used:
    """What runs, for records; AttentionError where fused kernels are asked for and cannot.

    device: "cpu", or "gpu" or "cuda"; dtype: as NumPy spells it; installed: whether what those kernels need is.
    """
    if kernel == "composed":
        return "composed"
    asked: Used = "jax_triton" if kernel == "jax_triton" else "fused"
    fits = device != "cpu" and layout == "1d" and block_size in BLOCK_SIZES and head_dim <= MOST_FEATURES.get(dtype, 0)
    fits = fits and head_dim in WIDTHS.get((asked, backend), (head_dim,))
    if kernel == "auto":
        return "fused" if fits and installed else "composed"
    if (asked, backend) not in LANGUAGES:
        has = ", ".join([*(name for name, framework in LANGUAGES if framework == backend), "composed"])
        raise AttentionError(f"kernel {asked!r} given, which {backend} does not have: take {has}, or auto")
    if not fits:
        widths = ", in jax 16, 32, 64 or 128" if asked == "fused" else ""
        raise AttentionError(
            f"kernel {asked!r} given for {dtype} on the {device}, layout {layout}, blocks of {block_size}, {head_dim} "
            "features a head: it needs a GPU, layout 1d, blocks of 16 to 512, and bfloat16 with at most 128 features "
            f"or float32 with at most 64{widths}; take auto"
        )
    if not installed:
        wanted = LANGUAGES[asked, backend]
        raise AttentionError(
            f"kernel {asked!r} given, but {wanted} is not installed: pip install '{wanted}', or take auto"
        )
    return asked
