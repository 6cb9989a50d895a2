"""The description of the model that a backend builds and trains, without its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from attention_impls import Mechanism
from attention_impls.base import Dims
from lra.core.config import Model, Train
from lra.core.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Images instead of documents: each token is a square of pixels (Dosovitskiy et al., arXiv 2010.11929)."""

    side: int
    """Pixels along the side of a square."""
    channels: int

    @property
    def numbers(self) -> int:
        """Numbers of one token: the pixels of a square, times the channels."""
        return self.side**2 * self.channels


@dataclass(frozen=True, kw_only=True)
class Blueprint:
    """What a backend builds and trains: the encoder, its attention and the optimiser's settings."""

    model: Model
    train: Train
    mechanism: Mechanism
    options: Any
    dims: Dims
    classes: int
    towers: int
    seed: int
    patches: Patches | None = None
    """If given, documents are images of `dims.grid` squares: raster scans of pixels from 0 to 255, channels last."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """The inputs that the mechanism takes, of x, q, k and v."""
        return self.mechanism.card.inputs_of(self.options)


def require_input(blueprint: Blueprint, task: str, vocabulary: int) -> None:
    """Raise UserError if the model's `pixels`, `vocabulary` or `positions` do not fit the task or the mechanism."""
    model, dims = blueprint.model, blueprint.dims
    if model.pixels == "continuous" and dims.grid is None:
        raise UserError(f"model.pixels is continuous, expected embedded for {task}: its tokens are not pixels")
    if model.pixels == "embedded" and model.vocabulary < vocabulary:
        raise UserError(f"model.vocabulary is {model.vocabulary}, expected at least {vocabulary} for {task}")
    if model.positions == "rope" and not {"q", "k"} <= set(blueprint.inputs):
        raise UserError(
            f"model.positions is rope, expected learned or none: {blueprint.mechanism.name} takes "
            f"{', '.join(blueprint.inputs)}, but rope rotates q and k"
        )
    if model.positions == "rope" and dims.head_dim % 2:
        raise UserError(f"model.positions is rope, expected an even head_dim: width / heads is {dims.head_dim}")


def with_kernel(facts: dict[str, Any], blueprint: Blueprint) -> dict[str, Any]:
    """A backend's facts, with the kernel of its attention if the mechanism has several."""
    kernel = blueprint.mechanism.card.kernel
    if kernel is None:
        return facts
    used = kernel(
        blueprint.options,
        blueprint.dims,
        backend=facts["framework"].split()[0],
        device="cpu" if facts["device"] == "cpu" else "gpu",
        dtype=facts["precision"].split()[0],
        ragged=blueprint.dims.grid is None,
    )
    return facts | {"attention_kernel": used}
