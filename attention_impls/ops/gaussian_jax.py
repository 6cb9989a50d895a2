"""The Gaussian kernel of the Skyformer paper in JAX. Axis letters: attention_impls/base.py."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float


def gaussian_kernel(x: Float[Array, "B n H D"], y: Float[Array, "B m H D"]) -> Float[Array, "B H n m"]:
    """exp(−‖x_i − y_j‖² / (2 √D)) in float32 at least, from products: ‖x − y‖² = ‖x‖² + ‖y‖² − 2 x·y.

    Rounding can make a distance negative, which is cut off; so is its gradient, truly zero where points meet. In true
    float32: a GPU's default for products has 10 bits, and norms cancel here.
    """
    wide = jnp.promote_types(x.dtype, jnp.float32)
    x, y = (points.swapaxes(1, 2).astype(wide) * x.shape[-1] ** -0.25 for points in (x, y))
    products = jnp.matmul(x, y.mT, precision="highest")
    exponent = products - jnp.square(x).sum(-1)[..., :, None] / 2 - jnp.square(y).sum(-1)[..., None, :] / 2
    return jnp.exp(jnp.where(exponent < 0, exponent, 0))


def gaussian_gram(x: Float[Array, "B m H D"]) -> Float[Array, "B H m m"]:
    """The same among a few points, from differences: positive semidefinite up to the rounding of its entries.

    The products above lose that where points far from zero are close to one another, and an inverse needs it.
    """
    points = x.swapaxes(1, 2).astype(jnp.promote_types(x.dtype, jnp.float32)) * x.shape[-1] ** -0.25
    squares = jnp.square(points[..., :, None, :] - points[..., None, :, :]).sum(-1)
    return jnp.exp(-squares / 2)
