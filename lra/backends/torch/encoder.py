"""The encoder in PyTorch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from attention_impls.torch import Attention
from lra.backends import Products
from lra.backends.torch.dropout import Dropout, Dropping
from lra.model.blueprint import Blueprint
from lra.model.dropout import ATTENDED, EMBEDDED, HIDDEN, OUTPUT, WITHIN
from lra.model.weights import CONSTANT, PROJECTIONS, Weights

NORM_EPSILON = 1e-5


class Block(nn.Module):
    """x + Drop(output(attend(norm x))), then x + Drop(ffn(norm x)): the pre-LN block."""

    def __init__(self, blueprint: Blueprint, number: int) -> None:
        super().__init__()
        model = blueprint.model
        self._blueprint, self._number = blueprint, number
        self.attention_norm = nn.LayerNorm(model.width, eps=NORM_EPSILON)
        self.ffn_norm = nn.LayerNorm(model.width, eps=NORM_EPSILON)
        for letter in blueprint.inputs:
            if letter in PROJECTIONS:
                self.add_module(PROJECTIONS[letter], nn.Linear(model.width, model.width))
        self.output = nn.Linear(model.width, model.width)
        self.ffn_in = nn.Linear(model.width, model.ffn)
        self.ffn_out = nn.Linear(model.ffn, model.width)
        sizes, options = asdict(blueprint.dims), asdict(blueprint.options)
        place = {"index": number, "depth": model.depth}
        self.attention = Attention(blueprint.mechanism, **sizes, **place, seed=blueprint.seed, **options)

    def forward(
        self,
        x: Float[Tensor, "B N C"],
        lengths: Int[Tensor, " B"] | None,
        drop: Dropout | None,
        carry: Any,
    ) -> tuple[Float[Tensor, "B N C"], Float[Tensor, " B"], Any]:
        """The block's output, its attention's penalty, zero where the card has none, and what it hands on."""

        def dropped(y: Tensor, site: int) -> Tensor:
            return y if drop is None else drop(y, self._number, site)

        attended, penalty, carry = self.attention.parts(
            self._inputs(self.attention_norm(x)),
            lengths,
            carry=carry,
            residual=x if self._blueprint.mechanism.card.residual else None,
            drop=None if drop is None else lambda y: dropped(y, WITHIN),
        )
        penalty = x.new_zeros(len(x)) if penalty is None else penalty.to(x.dtype)
        x = x + dropped(self.output(attended.flatten(-2)), ATTENDED)
        hidden = dropped(F.gelu(self.ffn_in(self.ffn_norm(x))), HIDDEN)
        return x + dropped(self.ffn_out(hidden), OUTPUT), penalty, carry

    def _inputs(self, x: Float[Tensor, "B N C"]) -> dict[str, Tensor]:
        """What the mechanism takes, by letter; all projections come from one product, as views of its result."""
        dims, wanted = self._blueprint.dims, self._blueprint.inputs
        layers: list[Any] = [getattr(self, PROJECTIONS[letter]) for letter in wanted if letter in PROJECTIONS]
        if not layers:
            return dict.fromkeys(wanted, x)
        packed = F.linear(x, torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers]))
        projected = iter(packed.unflatten(-1, (len(layers), dims.heads, dims.head_dim)).unbind(2))
        return {letter: next(projected) if letter in PROJECTIONS else x for letter in wanted}


class Encoder(nn.Module):
    """Embeddings of tokens or of patches, blocks, a final norm, the mean over real tokens, and a two-layer classifier.

    `products` is the dtype of the blocks' matrix products and attentions. The residual stream, the norms and the
    classifier, which has one row a document, stay in the dtype of the weights, and so do the logits.
    """

    def __init__(self, blueprint: Blueprint, products: Products) -> None:
        super().__init__()
        model = blueprint.model
        self._products, self._towers = products, blueprint.towers
        self._blueprint = blueprint
        self.dropping = Dropping(blueprint.seed, model.dropout)
        if blueprint.patches is None:
            self.tokens = nn.Embedding(model.vocabulary, model.width)
        else:
            self.patches = nn.Linear(blueprint.patches.numbers, model.width)
        self.positions = nn.Embedding(blueprint.dims.max_length, model.width)
        self.layers = nn.ModuleList(Block(blueprint, number) for number in range(model.depth))
        self.norm = nn.LayerNorm(model.width, eps=NORM_EPSILON)
        features = model.width * (4 if blueprint.towers == 2 else 1)
        self.classifier_in = nn.Linear(features, model.classifier)
        self.classifier_out = nn.Linear(model.classifier, blueprint.classes)

    def forward(
        self, tokens: Int[Tensor, "B T N"], lengths: Int[Tensor, "B T"] | None, drop: Dropout | None = None
    ) -> tuple[Float[Tensor, "B classes"], Float[Tensor, " B"]]:
        """Logits and penalties of B examples with T documents each; tokens beyond a document's length are never seen.

        The penalties of the layers are added, those of an example's documents averaged. `drop` has a row for each
        document; None drops nothing.
        """
        flat = tokens.flatten(0, 1)
        real = None if lengths is None else lengths.flatten()
        x = self._embedded(flat)
        x = x + self.positions.weight[: x.shape[1]]
        x = x if drop is None else drop(x, 0, EMBEDDED)
        penalty, carry = x.new_zeros(len(x)), None
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self._products == "bfloat16"):
            for layer in self.layers:
                x, more, carry = layer(x, real, drop, carry)
                penalty = penalty + more
        pooled = _mean(self.norm(x), real).unflatten(0, (-1, self._towers))
        logits = self.classifier_out(F.relu(self.classifier_in(_features(pooled))))
        return logits, penalty.unflatten(0, (-1, self._towers)).mean(1)

    def _embedded(self, flat: Int[Tensor, "B P"]) -> Float[Tensor, "B N C"]:
        """A vector for each token: for each of the P themselves, or for each square of an image's P pixels."""
        patches, grid = self._blueprint.patches, self._blueprint.dims.grid
        if patches is None or grid is None:
            return self.tokens(flat)
        scaled = flat.to(self.patches.weight.dtype) / 127.5 - 1
        sizes = {"r": grid[0], "c": grid[1], "y": patches.side, "x": patches.side, "h": patches.channels}
        pixels = rearrange(scaled, "b (r y c x h) -> b (r c) (y x h)", **sizes)
        with torch.autocast(flat.device.type, torch.bfloat16, enabled=self._products == "bfloat16"):
            return self.patches(pixels)

    def load(self, weights: Weights, device: torch.device) -> None:
        """Take over weights named as in lra.model.weights, in their dtype."""
        self.to(device=device, dtype=torch.from_numpy(weights["norm.scale"]).dtype)
        with torch.no_grad():
            for ours, name, tensor in self._arrays():
                tensor.copy_(_to_torch(name, weights[ours]))

    def weights(self) -> Weights:
        """Learned arrays and constants as they are now, named as in lra.model.weights."""
        return {ours: to_numpy(name, tensor) for ours, name, tensor in self._arrays()}

    def _arrays(self) -> Iterator[tuple[str, str, Tensor]]:
        """Every array with its name in lra.model.weights and in PyTorch; the only buffers are mechanisms' constants."""
        yield from ((canonical(name), name, tensor) for name, tensor in self.named_parameters())
        yield from ((CONSTANT + name, name, tensor) for name, tensor in self.named_buffers())


def canonical(name: str) -> str:
    """The name in lra.model.weights of a PyTorch parameter."""
    if ".attention." in name:
        return name
    owner, kind = name.rsplit(".", 1)
    if kind == "weight":
        kind = "scale" if owner.endswith("norm") else "embedding" if owner in ("tokens", "positions") else "kernel"
    return f"{owner}.{kind}"


def turned(name: str) -> bool:
    """Whether PyTorch keeps the transpose of our array: of its dense kernels, not of a mechanism's own."""
    return name.endswith(".weight") and canonical(name).endswith(".kernel")


def to_numpy(name: str, tensor: Tensor) -> Any:
    """The array of lra.model.weights for a PyTorch parameter, or for an optimiser moment of it."""
    array = tensor.detach().cpu()
    return (array.T if turned(name) else array).numpy().copy()


def _to_torch(name: str, array: Any) -> Tensor:
    tensor = torch.tensor(array)
    return tensor.T if turned(name) else tensor


def _mean(x: Float[Tensor, "B N C"], lengths: Int[Tensor, " B"] | None) -> Float[Tensor, "B C"]:
    if lengths is None:
        return x.mean(1)
    real = torch.arange(x.shape[1], device=x.device) < lengths[:, None]
    return (x * real[..., None]).sum(1) / lengths.clamp(min=1)[:, None]


def _features(pooled: Float[Tensor, "B T C"]) -> Float[Tensor, "B features"]:
    """One document as it is; two as [x0, x1, x0·x1, x0−x1]."""
    if pooled.shape[1] == 1:
        return pooled[:, 0]
    first, second = pooled.unbind(1)
    return torch.cat([first, second, first * second, first - second], -1)
