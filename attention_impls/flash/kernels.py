"""Which kernel computes the softmax attention, decided without loading a framework."""

from __future__ import annotations

import functools
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

from attention_impls.base import AttentionError

Kernel = Literal["auto", "flash-attn", "sdpa", "cudnn", "scan"]

_HALF = ("bfloat16", "float16")
_FRAMEWORK = {"flash-attn": "torch", "sdpa": "torch", "cudnn": "jax", "scan": "jax"}


@functools.cache
def flash_attn_installed() -> bool:
    """Whether the package flash-attn is there; loads nothing."""
    return find_spec("flash_attn") is not None


@functools.cache
def torch_has_varlen() -> bool:
    """Whether PyTorch is there with torch.nn.attention.varlen, which came in 2.10; loads nothing."""
    try:
        major, minor, *_ = metadata.version("torch").split(".")
    except metadata.PackageNotFoundError:
        return False
    return (int(major), int(minor)) >= (2, 10)


def kernel_used(
    kernel: Kernel,
    *,
    backend: str,
    device: str,
    dtype: str,
    head_dim: int,
    tokens: int,
    ragged: bool,
    flash_attn: bool = False,
    varlen: bool = False,
) -> str:
    """The name of the kernel that runs, for records. AttentionError if the chosen one cannot run.

    `device` is "cpu", "gpu" or "cuda"; `dtype` is NumPy's spelling. `ragged`: `lengths` are given. `flash_attn`: the
    package is installed. `varlen`: PyTorch has its own function for sequences of any length.
    """
    if kernel != "auto" and _FRAMEWORK[kernel] != backend:
        own = " or ".join(name for name, framework in _FRAMEWORK.items() if framework == backend)
        raise AttentionError(f"kernel is {kernel!r}, which {backend} does not have: use {own}, or auto")
    fast = device != "cpu" and dtype in _HALF
    if backend == "jax":
        fits = fast and head_dim % 8 == 0 and head_dim <= 128 and tokens % 2 == 0
        if kernel == "cudnn" and not fits:
            raise AttentionError(
                f"kernel 'cudnn' given for {dtype} on the {device}, {head_dim} features a head, {tokens} tokens: it "
                "needs 16 bits on a GPU, at most 128 features, a multiple of 8, and an even number of tokens; take auto"
            )
        return "cudnn" if fits and kernel != "scan" else "scan"
    fits = fast and head_dim <= 256
    if kernel == "flash-attn" and not flash_attn:
        raise AttentionError("kernel 'flash-attn' given, but flash_attn is not installed: pip install -e '.[flash]'")
    if kernel == "flash-attn" and not fits:
        raise AttentionError(
            f"kernel 'flash-attn' given for {dtype} on the {device}, {head_dim} features a head: it needs 16 bits on a "
            "GPU and at most 256 features; take auto"
        )
    if flash_attn and fits and kernel != "sdpa":
        return "flash-attn"
    if device == "cpu":
        return "sdpa cpu"
    if fast and not ragged:
        return "sdpa flash"
    return "sdpa varlen" if fits and head_dim % 8 == 0 and varlen else "sdpa efficient"
