"""Mamba's recurrence in JAX on a CPU, one token after another; `selective_torch` says what is computed, and why so."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

Ways = Float[Array, "W B N E"]
Selected = Float[Array, "W B N S"]
Decays = Float[Array, "W E S"]

PIECE = 16
"""Tokens whose states are kept together for gradients; of earlier pieces only the last state is."""


def selective_scan(step: Ways, driven: Ways, a: Decays, b: Selected, c: Selected) -> Ways:
    """The y of every token; `step` has the Δ, `driven` the d."""
    tokens = step.shape[2]
    count = -(-tokens // PIECE)

    def pieces(x: Array) -> Array:
        """(W, B, N, …) as (pieces, tokens, W, B, …). Behind the last token no step is made."""
        padded = jnp.pad(x, ((0, 0), (0, 0), (0, count * PIECE - tokens), (0, 0)))
        return jnp.moveaxis(padded.reshape(*x.shape[:2], count, PIECE, x.shape[3]), (2, 3), (0, 1))

    def token(state: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        step, driven, b, c = given
        state = next_state(state, jnp.exp(step[..., None] * a[:, None]), driven[..., None] * b[..., None, :])
        return state, (state @ c[..., None])[..., 0]

    @jax.checkpoint
    def piece(state: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        return jax.lax.scan(token, state, given)

    first = jnp.zeros((*step.shape[:2], *a.shape[1:]), step.dtype)
    read = jax.lax.scan(piece, first, tuple(pieces(each) for each in (step, driven, b, c)))[1]
    return jnp.moveaxis(read.reshape(-1, *read.shape[2:]), 0, 2)[:, :, :tokens]


@jax.jit
def next_state(state: Array, decay: Array, inputs: Array) -> Array:
    """A function of its own, so that a reader of a program sees a recurrence."""
    return decay * state + inputs
