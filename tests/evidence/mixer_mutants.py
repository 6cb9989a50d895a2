"""Faults of state-space and convolution mixers that the quick tests must see."""

from __future__ import annotations

from tests.evidence.mutants import LAWS, named

SELECTIVE, SCAN, DIAGONAL, FOURIER, TOKEN_CONV, GATED = (
    f"attention_impls/ops/{name}_torch.py"
    for name in ("selective", "scan", "diagonal", "fourier", "token_conv", "gated")
)
MAMBA, SCANS = "tests/test_attention_mamba.py", "tests/test_attention_scan.py"

MIXERS = (
    named(
        "a state lost between pieces",
        SELECTIVE,
        "before[way, index + 1, rows] = states[-1]",
        "before[way, index + 1, rows] = 0 * states[-1]",
        MAMBA,
    ),
    named("a gradient lost between pieces", SELECTIVE, "of_states[-1] += later", "later.zero_()", MAMBA),
    named(
        "a state lost between pieces in JAX",
        "attention_impls/ops/selective_jax.py",
        "return jax.lax.scan(token, state, given)",
        "return jax.lax.scan(token, 0 * state, given)",
        MAMBA,
    ),
    named("a pair of equal decays", SCAN, "pairs = odd * decay[:, :last:2]", "pairs = odd * odd", SCANS),
    named("a conjugate forgotten", SCAN, "ctx.reverse else -1, 1).conj()", "ctx.reverse else -1, 1)", SCANS),
    named("two directions alike", DIAGONAL, "in (False, True)[", "in (False, False)[", f"{LAWS} s5"),
    named("imaginary parts added", DIAGONAL, "(way.real, -way.imag)", "(way.real, way.imag)", f"{LAWS} s5"),
    named(
        "a convolution that wraps",
        FOURIER,
        "size = transform_length(2 * tokens)\n    behind",
        "size = transform_length(tokens)\n    behind",
        f"{LAWS} longconv",
    ),
    named(
        "a second direction off by a token",
        FOURIER,
        "(behind.roll(1, -1) if overlap else behind)",
        "behind",
        f"{LAWS} mega",
    ),
    named("an odd kernel off its centre", TOKEN_CONV, "kernel // 2\n", "kernel // 2 + 1\n", f"{LAWS} window_conv"),
    named("no GELU before the gate", GATED, "F.gelu(y)", "y", f"{LAWS} s4"),
    named(
        "LegS with other roots",
        "attention_impls/ops/hippo.py",
        "np.sqrt(2 * np.arange(state) + 1)",
        "np.sqrt(2 * np.arange(state) + 2)",
        "tests/test_attention_diagonal.py",
    ),
)
