"""Softmax attention whose scores are never written to memory."""

from __future__ import annotations

from dataclasses import dataclass

from attention_impls.base import Attention, Count, Dims, Equality
from attention_impls.citation import Citation
from attention_impls.equation import Equation
from attention_impls.flash.kernels import Kernel, flash_attn_installed, kernel_used, torch_has_varlen


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of flash attention."""

    kernel: Kernel = "auto"
    """The kernel: flash-attn or sdpa in PyTorch, cudnn or scan in JAX. auto: the first one that can run."""
    block_size: Count = 512
    """Tokens of a block of the scan; on a CPU only of queries, up to 128. Library kernels choose their own blocks."""


def operations(options: Options, dims: Dims, length: int) -> int:
    """q kᵀ and its product with v, as in softmax attention."""
    return 2 * dims.heads * dims.head_dim * length**2


def kernel(options: Options, dims: Dims, *, backend: str, device: str, dtype: str, ragged: bool) -> str:
    """The kernel that runs at dims.max_length tokens."""
    return kernel_used(
        options.kernel,
        backend=backend,
        device=device,
        dtype=dtype,
        head_dim=dims.head_dim,
        tokens=dims.max_length,
        ragged=ragged,
        flash_attn=flash_attn_installed(),
        varlen=torch_has_varlen(),
    )


CARD = Attention(
    title="Flash",
    year=2022,
    paper=Citation(
        # The page of the proceedings has Dan Fu.
        authors="Tri Dao, Daniel Y. Fu, Stefano Ermon, Atri Rudra, Christopher Ré",
        title="FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
        venue="NeurIPS",
        year=2022,
        arxiv="2205.14135",
    ),
    also=(
        Citation(
            authors="Tri Dao",
            title="FlashAttention-2: Faster Attention with Better Parallelism and Work Partitioning",
            venue="ICLR",
            year=2024,
            arxiv="2307.08691",
        ),
    ),
    equations=(
        Equation("output", r"O = \operatorname{softmax}\left(\frac{Q K^\top}{\sqrt{D}}\right) V", "over real keys"),
        Equation(
            "running",
            (
                r"m' = \max(m, \max S), \quad l' = e^{m - m'} l + \sum e^{S - m'}, \quad O' = e^{m - m'} O + e^{S - "
                r"m'} V"
            ),
            "for each block of keys with scores $S$, from a running maximum $m$ and sum $l$; at the end $O / l$",
        ),
    ),
    cost="O(N²·D), memory O(N·D)",
    operations=operations,
    options=Options,
    variants=(Options(block_size=16), Options(block_size=24)),
    differs=(
        "The kernel is a library's. PyTorch takes flash-attn where it is installed and the inputs are 16-bit on a "
        "GPU; ragged batches take its variable-length form. Otherwise PyTorch takes its own kernels. 16-bit batches "
        "take its flash kernel, from 2.10 on ragged ones too. Other batches take its memory-efficient kernel with a "
        "mask, and on a CPU its CPU kernel. JAX takes cuDNN for 16-bit inputs on a GPU. Otherwise it scans over "
        "blocks and recomputes the scores in the backward pass."
    ),
    equals_softmax_when=(
        Equality(options=Options(block_size=16), lengths=(1, 33, 130), tolerance=1e-12, why="always"),
    ),
    kernel=kernel,
)
