"""ELFATT with windows of pixels in a vision transformer that is plain PyTorch.

A model of timm takes it in one line, attention_impls.timm.replace(model, "elfatt@block_size=49").

python examples/vision_transformer.py --steps 200
"""

from __future__ import annotations

import torch
import tyro
from torch import Tensor, nn

from attention_impls.torch import MultiheadAttention


class VisionTransformer(nn.Module):
    """Patches, nn.TransformerEncoder with another attention, the mean over patches, a class."""

    def __init__(self, side: int = 32, patch: int = 4, width: int = 64, heads: int = 4, depth: int = 2) -> None:
        super().__init__()
        grid = (side // patch, side // patch)
        self.patches = nn.Conv2d(1, width, patch, patch)
        self.places = nn.Parameter(0.02 * torch.randn(1, grid[0] * grid[1], width))
        layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, depth)
        for each in self.encoder.layers:
            each.self_attn = MultiheadAttention(
                width, heads, mechanism="elfatt@layout=2d@block_size=16", grid=grid, batch_first=True
            )
        self.head = nn.Linear(width, 2)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 2) of images (B, 1, side, side)."""
        x = self.patches(images).flatten(2).mT + self.places
        return self.head(self.encoder(x).mean(1))


def stripes(count: int, side: int = 32) -> tuple[Tensor, Tensor]:
    """Noisy images of stripes, and whether they stand upright."""
    upright = torch.randint(0, 2, (count,))
    wave = torch.sin(torch.arange(side) * 0.8 + 6.28 * torch.rand(count, 1))[:, None, :].expand(-1, side, -1)
    images = torch.where(upright.bool()[:, None, None], wave, wave.mT)
    return (images + torch.randn(count, side, side))[:, None], upright


def main(steps: int = 60, batch: int = 32) -> None:
    """Learn to tell upright stripes from flat ones."""
    torch.manual_seed(0)
    model = VisionTransformer()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for step in range(steps):
        images, upright = stripes(batch)
        loss = nn.functional.cross_entropy(model(images), upright)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if step % 20 == 0 or step == steps - 1:
            print(f"step {step}: loss {loss.item():.3f}")
    images, upright = stripes(256)
    print(f"accuracy {(model.eval()(images).argmax(1) == upright).float().mean().item():.1%}")


if __name__ == "__main__":
    tyro.cli(main)
