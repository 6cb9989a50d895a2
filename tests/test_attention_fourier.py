"""Fourier transforms over tokens: convolutions in both conventions against direct sums, their cost and rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from attention_impls.ops.fourier import transform_length, transform_operations

BATCH, CHANNELS = 3, 4
BACKENDS = ("torch", "jax")


def conv(backend: str, x: np.ndarray, after: np.ndarray, before: np.ndarray, overlap: bool, dtype: str) -> np.ndarray:
    """`two_sided_conv` of one framework, computed in `dtype`."""
    pytest.importorskip(backend)
    if backend == "torch":
        import torch

        from attention_impls.ops.fourier_torch import two_sided_conv as of_torch

        given = (torch.tensor(array, dtype=getattr(torch, dtype)) for array in (x, after, before))
        found = of_torch(*given, overlap=overlap)
        assert found.dtype == getattr(torch, dtype)
        return found.double().numpy()
    import jax
    import jax.numpy as jnp

    from attention_impls.ops.fourier_jax import two_sided_conv as of_jax

    with jax.enable_x64(dtype == "float64"):
        found = of_jax(*(jnp.asarray(array, dtype) for array in (x, after, before)), overlap=overlap)
        assert found.dtype == jnp.dtype(dtype)
        return np.asarray(found.astype(jnp.promote_types(found.dtype, jnp.float32)), np.float64)


def dft(backend: str, x: np.ndarray, lengths: np.ndarray | None) -> np.ndarray:
    """`ragged_dft` of one framework, in the precision of x."""
    pytest.importorskip(backend)
    if backend == "torch":
        import torch

        from attention_impls.ops.fourier_torch import ragged_dft as of_torch

        return of_torch(torch.tensor(x), None if lengths is None else torch.tensor(lengths)).numpy()
    import jax
    import jax.numpy as jnp

    from attention_impls.ops.fourier_jax import ragged_dft as of_jax

    with jax.enable_x64(x.dtype == np.complex128):
        return np.asarray(of_jax(jnp.asarray(x), None if lengths is None else jnp.asarray(lengths)))


def direct(x: np.ndarray, after: np.ndarray, before: np.ndarray, overlap: bool) -> np.ndarray:
    """The sums of attention_impls/ops/fourier.py, term by term."""
    out = np.zeros(x.shape)
    for i, j in np.ndindex(x.shape[1], x.shape[1]):
        if j <= i:
            out[:, i] += after[:, i - j] * x[:, j]
        if j > i or (overlap and j == i):
            out[:, i] += before[:, j - i - (not overlap)] * x[:, j]
    return out


def drawn(tokens: int, lengths: tuple[int, ...] = (), seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, zero from each length on, and kernels of both directions."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(BATCH, tokens, CHANNELS))
    for example, length in zip(x, lengths, strict=False):
        example[length:] = 0
    return x, rng.normal(size=(CHANNELS, tokens)), rng.normal(size=(CHANNELS, tokens))


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize("tokens", [1, 2, 37, 64])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_convolution_is_the_direct_sum(backend: str, tokens: int, overlap: bool) -> None:
    x, after, before = drawn(tokens, (tokens, tokens // 2, 1))
    expected = direct(x, after, before, overlap)
    assert np.abs(conv(backend, x, after, before, overlap, "float64") - expected).max() < 1e-12


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_conventions_differ_by_the_lag_of_the_second_kernel(backend: str) -> None:
    x = np.zeros((1, 5, 1))
    x[0, 2] = 1
    after, before = np.array([[1.0, 2, 3, 4, 5]]), np.array([[10.0, 20, 30, 40, 50]])
    shifted, overlapping = (conv(backend, x, after, before, overlap, "float64")[0, :, 0] for overlap in (False, True))
    np.testing.assert_allclose(shifted, [20, 10, 1, 2, 3], atol=1e-12)
    np.testing.assert_allclose(overlapping, [30, 20, 11, 2, 3], atol=1e-12)


def uncertainty(x: np.ndarray, after: np.ndarray, before: np.ndarray, eps: float) -> np.ndarray:
    """The bound of attention_impls/ops/fourier.py for each example and channel, (B, 1, C)."""
    size = transform_length(2 * x.shape[1])
    kernel = np.concatenate([after, np.zeros((CHANNELS, size - 2 * x.shape[1])), before[:, ::-1]], 1)
    condition = 2 * np.linalg.norm(kernel, axis=1) + np.abs(np.fft.rfft(kernel)).max(1)
    return 7 * eps / 2 * math.log2(size) * condition * np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize(("dtype", "eps"), [("float64", 2.0**-52), ("float32", 2.0**-23)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_more_padding_changes_no_more_than_the_derived_bound(backend: str, dtype: str, eps: float) -> None:
    x, after, before = (array.astype(np.float32).astype(np.float64) for array in drawn(48, (48, 20, 1)))
    more = [(0, 0), (0, 52)]
    short = conv(backend, x, after, before, False, dtype)
    long = conv(backend, np.pad(x, [*more, (0, 0)]), np.pad(after, more), np.pad(before, more), False, dtype)[:, :48]
    expected, bound = direct(x, after, before, overlap=False), uncertainty(x, after, before, eps)
    assert (np.abs(short - expected) <= bound).all()
    assert (np.abs(long - short) <= 2 * bound).all()
    # The bound is sharp enough to see a computation in half of the digits.
    assert (np.abs(expected.astype(np.float32 if dtype == "float64" else np.float16) - expected) > bound).any()


@pytest.mark.parametrize("backend", BACKENDS)
def test_bfloat16_is_rounded_before_and_after_and_not_within(backend: str) -> None:
    torch = pytest.importorskip("torch")
    x, after, before = (torch.tensor(array).bfloat16().double().numpy() for array in drawn(500))
    exact = conv(backend, x, after, before, False, "float64")
    half = conv(backend, x, after, before, False, "bfloat16")
    assert np.abs(half - exact).max() <= 2.0**-8 * np.abs(exact).max()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_convolution_of_65536_tokens(backend: str) -> None:
    tokens, rng = 65_536, np.random.default_rng(3)
    x, after, before = rng.normal(size=(1, tokens, 1)), *rng.normal(size=(2, 1, tokens)) / 256
    found = conv(backend, x, after, before, False, "float32")[0, :, 0]
    kernel = np.concatenate([before[0, :-1][::-1], after[0]])  # by lag, from 1 − N on
    for i in (0, 1, 30_000, tokens - 1):
        lags = kernel[i : i + tokens][::-1]  # of the tokens 0 … N − 1, as i sees them
        assert abs(found[i] - lags @ x[0, :, 0]) < 1e-4


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_transform_over_each_examples_own_length(backend: str) -> None:
    lengths, rng = np.array([37, 0, 1, 20, 48], np.int32), np.random.default_rng(1)
    x = rng.normal(size=(5, 48, 2)) + 1j * rng.normal(size=(5, 48, 2))
    found = dft(backend, x, lengths)
    for out, example, length in zip(found, x, lengths, strict=True):
        turns = np.arange(length)[:, None] * np.arange(length) / max(length, 1)
        np.testing.assert_allclose(out[:length], np.exp(-2j * np.pi * turns) @ example[:length], atol=1e-12)
        assert not out[length:].any()
    np.testing.assert_allclose(dft(backend, x[4:], None), found[4:], atol=1e-12)


@pytest.mark.parametrize(("dtype", "eps"), [("complex128", 2.0**-52), ("complex64", 2.0**-23)])
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_transform_over_an_own_length_errs_by_no_more_than_the_derived_bound(
    backend: str, dtype: str, eps: float
) -> None:
    lengths, rng = np.array([1000, 999, 131, 2, 1], np.int32), np.random.default_rng(6)
    x = (rng.normal(size=(5, 1000, 1)) + 1j * rng.normal(size=(5, 1000, 1))).astype(dtype)
    found = dft(backend, x, lengths)
    assert found.dtype == dtype
    bound = 70 * eps / 2 * math.log2(transform_length(2000))
    for out, example, length in zip(found, x.astype(complex), lengths, strict=True):
        expected = np.fft.fft(example[:length], axis=0)
        missed = np.linalg.norm(out[:length] - expected)
        assert missed <= bound * np.linalg.norm(expected)


def test_the_spectrum_of_a_chirp_is_flat() -> None:
    """So that a short example in a long array loses no digits."""
    for length in (1, 2, 5, 37, 100, 1000):
        steps = np.arange(length)
        chirp = np.exp(1j * np.pi * (steps**2 % (2 * length)) / length)
        kernel = np.concatenate([chirp, np.zeros(3000 - 2 * length + 1), chirp[:0:-1]])
        assert np.abs(np.fft.fft(kernel)).max() <= 2.5 * np.sqrt(length)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_transform_of_65536_tokens_keeps_its_digits(backend: str) -> None:
    length = 65_521  # a prime
    x = np.random.default_rng(2).normal(size=(1, 65_536, 1)) + 0j
    found, expected = dft(backend, x, np.array([length], np.int32))[0, :length, 0], np.fft.fft(x[0, :length, 0])
    assert np.abs(found - expected).max() < 7 * 2.0**-53 * 17 * 10 * np.linalg.norm(x)


def test_transform_lengths_are_even_smooth_and_the_next() -> None:
    smooth = [n for n in range(2, 3000, 2) if transform_length(n) == n]
    assert smooth[:12] == [2, 4, 6, 8, 10, 12, 16, 18, 20, 24, 30, 32]
    for n in range(2000):
        assert transform_length(n) == min(each for each in smooth if each >= n)
    assert max(transform_length(n) / n for n in range(100, 5000)) < 1.12


def test_operations_of_transforms() -> None:
    assert transform_operations(1024, 3, real=False) == 3 * 5 * 1024 * 10
    assert transform_operations(1024, 3, real=True) == 3 * 5 * 1024 * 10 // 2
    assert transform_operations(0, 3, real=True) == transform_operations(1, 3, real=True) == 0


def test_both_meters_count_transforms_alike() -> None:
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    from attention_meter import jaxpr_footprint, torch_transforms
    from torch.utils.flop_counter import FlopCounterMode

    def call(fft: Any, x: Any) -> Any:
        return fft.irfft(fft.rfft(x, 128), 128), fft.fft(fft.ifft(x + 0j))

    expected = 2 * transform_operations(128, 6, real=True) + 2 * transform_operations(50, 6, real=False)
    graph = jax.make_jaxpr(lambda x: call(jax.numpy.fft, x))(np.zeros((2, 3, 50), np.float32))
    assert jaxpr_footprint(graph.jaxpr).transforms == expected
    with FlopCounterMode(display=False, custom_mapping=torch_transforms()) as counter:
        call(torch.fft, torch.zeros(2, 3, 50))
    assert counter.get_total_flops() == expected
