"""Linear recurrences over tokens in JAX. Axis letters: attention_impls/base.py; `scan` says what is computed."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Inexact

States = Inexact[Array, "B N *state"]
Decays = Inexact[Array, "#B #N *#state"]
"""Those of each token, or with a single one on the token axis those of all."""


def linear_scan(decay: Decays, inputs: States, *, reverse: bool = False) -> States:
    """The states h_i = decay_i h_{i−1} + inputs_i, or in reverse; inputs are zero at padding."""
    states: Any = _linear_scan(decay, inputs, reverse)
    return states


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _linear_scan(decay: Decays, inputs: States, reverse: bool) -> States:
    return states_of(decay, inputs, reverse)


@functools.partial(jax.jit, static_argnums=2)
def states_of(decay: Decays, inputs: States, reverse: bool) -> States:
    """`linear_scan` without a gradient; a function of its own, so that a reader of a program sees a recurrence.

    On a CPU, steps in order take less time than a tree: they go through memory once.
    """
    if jax.default_backend() == "cpu":
        return _in_order(decay, inputs, reverse)
    decay = jnp.broadcast_to(decay, (len(decay), *inputs.shape[1:]))
    return jax.lax.associative_scan(_then, (decay, inputs), reverse=reverse, axis=1)[1]


def _in_order(decay: Decays, inputs: States, reverse: bool) -> States:
    """One token after another."""
    each = decay.shape[1] > 1

    def token(state: Array, given: tuple[Array, ...]) -> tuple[Array, Array]:
        state = (given[1] if each else decay[:, 0]) * state + given[0]
        return state, state

    given = tuple(jnp.moveaxis(array, 1, 0) for array in ((inputs, decay) if each else (inputs,)))
    return jnp.moveaxis(jax.lax.scan(token, jnp.zeros_like(inputs[:, 0]), given, reverse=reverse)[1], 0, 1)


def _then(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """One step after another, as a step."""
    return second[0] * first[0], second[0] * first[1] + second[1]


def _forward(decay: Array, inputs: Array, reverse: bool) -> tuple[Array, tuple[Array, Array]]:
    states = states_of(decay, inputs, reverse)
    return states, (decay, states)


def _backward(reverse: bool, kept: tuple[Array, Array], grads: Array) -> tuple[Array, Array]:
    """Each state's gradient is that of the result and, through the next state's decay, that of the next."""
    decay, states = kept
    grads = states_of(jnp.roll(decay, 1 if reverse else -1, 1), grads, not reverse)
    rest = ((0, 0),) * (states.ndim - 2)
    if reverse:
        of_decay = jnp.pad(grads[:, :-1] * states[:, 1:], ((0, 0), (0, 1), *rest))
    else:
        of_decay = jnp.pad(grads[:, 1:] * states[:, :-1], ((0, 0), (1, 0), *rest))
    shared = [axis for axis, size in enumerate(decay.shape) if size < of_decay.shape[axis]]
    return of_decay.sum(shared, keepdims=True), grads


_linear_scan.defvjp(_forward, _backward)
