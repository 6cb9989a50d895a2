"""Which expressions were drawn before: what a set says, in a tenth of its memory."""

from __future__ import annotations

import tracemalloc

import numpy as np

from tasks.listops.seen import BYTES, Seen


def test_what_was_seen_is_known_as_a_set_knows_it() -> None:
    rng, seen, plain = np.random.default_rng(0), Seen(), set()
    for _ in range(40):
        halves = rng.integers(0, 40, (50, 2)).astype(np.uint64)  # many share a half, many come again
        digests = halves.tobytes()
        texts = [digests[at : at + BYTES] for at in range(0, len(digests), BYTES)]
        new = seen.new(digests)
        expected = [text not in plain and text not in texts[:place] for place, text in enumerate(texts)]
        assert new.tolist() == expected
        new &= rng.random(50) < 0.5
        seen.add(digests, new)
        plain |= {text for text, kept in zip(texts, new, strict=True) if kept}
        assert len(seen) == len(plain)


def test_what_was_seen_takes_sixteen_bytes_an_expression() -> None:
    seen, count = Seen(), 200
    digests = np.random.default_rng(1).bytes(BYTES * 1000 * count)
    tracemalloc.start()
    for at in range(0, len(digests), BYTES * 1000):
        seen.add(digests[at : at + BYTES * 1000], np.ones(1000, bool))
    held, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.2 * len(digests)
    assert peak < 5 * len(digests)
