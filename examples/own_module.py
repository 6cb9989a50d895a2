"""A module of your own on Long Range Arena: the folder that is written here is what --attn path/to/folder takes.

python examples/own_module.py --preset quick
"""

from __future__ import annotations

from pathlib import Path

import tyro

import lra

MODULE = '''
import torch
from torch import nn


class Attention(nn.Module):
    """Every token gets the mean of all real ones, through a gate."""

    def __init__(self, dims):
        super().__init__()
        self.gate = nn.Linear(dims.head_dim, dims.head_dim)

    def forward(self, q, k, v, mask):
        real = torch.ones_like(v[:, :, 0, 0]) if mask is None else mask.to(v.dtype)
        mean = torch.einsum("bn,bnhd->bhd", real, v) / real.sum(1).clamp_min(1)[:, None, None]
        return self.gate(q).sigmoid() * mean[:, None]
'''


def main(preset: str = "smoke", task: str = "listops", folder: Path = Path("own_attention")) -> None:
    """Train the module, and softmax under the same conditions."""
    folder.mkdir(exist_ok=True)
    (folder / "torch_impl.py").write_text(MODULE, encoding="utf-8")
    for attention in (str(folder.resolve()), "softmax"):
        record = lra.train(lra.resolve(task, attention, backend="torch", preset=preset), results=folder, fresh=True)
        print(f"{Path(record.attn).name}: {record.test_accuracy:.1%} of {record.test_examples} test examples")


if __name__ == "__main__":
    tyro.cli(main)
