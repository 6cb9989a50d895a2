"""Faults of ELFATT's kernels, and of the way of Triton's into JAX, that the quick tests must see."""

from __future__ import annotations

from tests.evidence.mutants import named

BLOCKS, GLOBALS, TILES, PLAN, IN_JAX = (
    f"attention_impls/elfatt/triton/{name}.py"
    for name in ("block_heads", "global_heads", "tiles", "plan", "jax_attend")
)
TRITON, BY_JAX = "tests/test_elfatt_fused_torch.py", "tests/test_elfatt_jax_triton.py"
PALLAS = "tests/test_elfatt_fused_jax.py"

KERNELS = (
    named("no running maximum", BLOCKS, "mixed = mixed * shrink[:, None] +", "mixed = mixed +", TRITON),
    named("a tile past its block", BLOCKS, "end = tl.minimum(first + block, tokens)", "end = tokens", TRITON),
    named("one tile's rows for all", BLOCKS, "tl.program_id(0) % tiles * ROWS", "tl.program_id(0) % tiles", TRITON),
    named("a column of keys forgotten", BLOCKS, "by_k += product(tl.trans(by_score.to(x.dtype)), x)", "pass", TRITON),
    named("a split without its maximum", GLOBALS, "matrix = matrix * shrink[:, None] +", "matrix = matrix +", TRITON),
    named("splits added as they are", GLOBALS, "matrices * share[:, :, None]", "matrices", TRITON),
    named("no correction of the keys", GLOBALS, " - mean[None, :])", ")", TRITON),
    named(
        "the last split's padding", GLOBALS, 'tl.where((rows < last)[:, None], found, float("-inf"))', "found", TRITON
    ),
    named(
        "taps of the first heads",
        TILES,
        "(tl.program_id(1) + FIRST) * D + features) * 3",
        "tl.program_id(1) * D + features) * 3",
        TRITON,
    ),
    named("a border crossed", TILES, "(rows >= first) & (rows < last)", "rows < last", TRITON),
    named(
        "a grid of whole blocks alone",
        PLAN,
        "_ceil(sizes.tokens, sizes.block) *",
        "sizes.tokens // sizes.block *",
        TRITON,
    ),
    named(
        "the statistics of one split",
        PLAN,
        "splits = sizes.width, _ceil(sizes.tokens, split)\n    most",
        "splits = sizes.width, 1\n    most",
        TRITON,
    ),
    named(
        "an alias by its name's place",
        IN_JAX,
        "{places.index(name): order.index(name)",
        "{order.index(name): order.index(name)",
        BY_JAX,
    ),
    named("gradients of taps turned", IN_JAX, ".swapaxes(1, 2)", ".swapaxes(1, 2)[..., ::-1]", BY_JAX),
    named(
        "a fade forgotten in Pallas", "attention_impls/elfatt/pallas_global.py", "fade[:, None] * sums", "sums", PALLAS
    ),
    named(
        "a block's border in Pallas",
        "attention_impls/elfatt/pallas_block.py",
        "jnp.minimum(self.border, length[...])",
        "length[...]",
        PALLAS,
    ),
)
