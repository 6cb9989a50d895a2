"""The Gaussian kernel of the Skyformer paper in PyTorch. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def gaussian_kernel(x: Float[Tensor, "B n H D"], y: Float[Tensor, "B m H D"]) -> Float[Tensor, "B H n m"]:
    """exp(−‖x_i − y_j‖² / (2 √D)) in float32 at least, from products: ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y.

    Rounding can make a distance negative, which is cut off; so is its gradient, truly zero where points meet.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    x, y = (points.transpose(1, 2).to(wide) * x.shape[-1] ** -0.25 for points in (x, y))
    exponent = x @ y.mT
    exponent.sub_(x.square().sum(-1)[..., :, None] / 2).sub_(y.square().sum(-1)[..., None, :] / 2)
    return exponent.clamp(max=0).exp_()


def gaussian_gram(x: Float[Tensor, "B m H D"]) -> Float[Tensor, "B H m m"]:
    """The same among a few points, from differences: positive semidefinite up to the rounding of its entries.

    The products above lose that where points far from zero are close to one another, and an inverse needs it.
    """
    points = x.transpose(1, 2).to(torch.promote_types(x.dtype, torch.float32)) * x.shape[-1] ** -0.25
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    return (-distances.square() / 2).exp()
