"""Softmax attention in JAX at lengths that a CPU computes row by row, against the reference in float64."""

from typing import Any

import numpy as np
import pytest
from attention_cases import EXACT, Case, cotangent_for, dims_for, draw, error, gradients, output, reference
from attention_meter import jaxpr_footprint

from attention_impls.flash import Options as Flash
from attention_impls.softmax import Options

softmax_jax = pytest.importorskip("attention_impls.ops.softmax_jax", exc_type=ImportError)

# At and past the border between both forms; a whole number of blocks of queries, and a rest.
LENGTHS = (softmax_jax.SHORT, softmax_jax.SHORT + 1, 3 * softmax_jax.QUERIES, 3 * softmax_jax.QUERIES + 1)
CASES = (Case("softmax", Options()), Case("flash", Flash()))


@pytest.mark.parametrize("tokens", LENGTHS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_rows_one_by_one_equal_the_reference(case: Case, tokens: int) -> None:
    inputs = draw(case, tokens, (tokens, 0, 1, tokens - 3), dims=dims_for(tokens, heads=2, head_dim=4))
    assert error(output(case, "jax", inputs), reference(case, inputs)) < EXACT


@pytest.mark.parametrize("tokens", LENGTHS[1::2])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_their_gradients_are_pytorchs(case: Case, tokens: int) -> None:
    pytest.importorskip("torch")
    inputs = draw(case, tokens, (tokens, 0, 1, tokens - 3), dims=dims_for(tokens, heads=2, head_dim=4))
    cotangent = cotangent_for(inputs)
    (_, ours), (_, theirs) = (gradients(case, backend, inputs, cotangent) for backend in ("jax", "torch"))
    for name, each in ours.items():
        assert error(each, theirs[name]) < EXACT, name


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("lengths", [(77, 0, 1, 40), None], ids=["ragged", "full"])
def test_blocks_of_keys_equal_the_reference(
    lengths: tuple[int, ...] | None, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CPU takes one head at a time, a GPU all. Some blocks see no key, and the last ones are not full."""
    jax = pytest.importorskip("jax")
    pytest.importorskip("torch")
    case = CASES[1]
    inputs = draw(case, 77, lengths, dims=dims_for(77, heads=2, head_dim=4))
    weight = cotangent_for(inputs)
    with jax.enable_x64(True):
        real = None if lengths is None else jax.numpy.arange(77) < jax.numpy.asarray(lengths)[:, None]
        given = [jax.numpy.asarray(inputs.arrays[name]) for name in "qkv"]
        if real is not None:
            weight = weight * np.asarray(real)[:, :, None, None]
        monkeypatch.setattr(jax, "default_backend", lambda: device)

        def loss(q: Any, k: Any, v: Any) -> Any:
            out = softmax_jax.attention_in_blocks(q, k, v, real, queries=16, keys=24)
            return (out * weight).sum(), out

        ours, out = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(*given)
        assert error(np.asarray(out) * (weight != 0), reference(case, inputs)) < EXACT
        _, theirs = gradients(case, "torch", inputs, weight)
        for name, each in zip("qkv", ours, strict=True):
            assert error(np.asarray(each), theirs[name]) < EXACT, name


def test_without_lengths_every_token_counts() -> None:
    case, tokens = CASES[0], LENGTHS[-1]
    inputs = draw(case, tokens, None, dims=dims_for(tokens, heads=2, head_dim=4))
    assert error(output(case, "jax", inputs), reference(case, inputs)) < EXACT


def test_a_long_row_has_the_scores_of_some_queries_at_a_time() -> None:
    """Also for the gradients, which compute them anew."""
    import jax
    import jax.numpy as jnp

    tokens = 4096

    def loss(q: jax.Array, k: jax.Array, v: jax.Array) -> jax.Array:
        return softmax_jax.fused_softmax_attention(q, k, v, None).sum()

    array = jax.ShapeDtypeStruct((2, tokens, 2, 8), jnp.float32)
    found = jaxpr_footprint(jax.jit(jax.grad(loss, (0, 1, 2))).trace(array, array, array).jaxpr.jaxpr)
    assert found.largest == softmax_jax.QUERIES * tokens
