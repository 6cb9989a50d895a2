"""The paper of the Gaussian kernel, which two mechanisms share: gaussian_torch.py and gaussian_jax.py compute it."""

from __future__ import annotations

from attention_impls.citation import Citation

PAPER = Citation(
    authors="Yifan Chen, Qi Zeng, Heng Ji, Yun Yang",
    title="Skyformer: Remodel Self-Attention with Gaussian Kernel and Nyström Method",
    venue="NeurIPS",
    year=2021,
    arxiv="2111.00035",
)
