"""Workers and sweeps that are killed at random moments lose no run, double none and change no number."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evidence.sweeps import campaign


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_kills_lose_nothing_double_nothing_and_change_no_number(tmp_path: Path) -> None:
    """results/evidence/sweeps.md has twenty runs; some here go on from a snapshot."""
    pytest.importorskip("torch")
    found = campaign(tmp_path, runs=3, kills=6, seed=1)
    assert found.kills.total() == 6
    assert found.continued > 0, found
    assert (found.lost, found.doubled, found.other) == (0, 0, 0), found
