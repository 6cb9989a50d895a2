"""What a test needs and a machine may lack. It is skipped then, and says so, unless LRA_REQUIRE names the need.

LRA_REQUIRE is a list with commas, of `browser` and `data`.
"""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

NEEDS = ("browser", "data")


def required() -> frozenset[str]:
    """The needs whose absence fails a test; a name that is none of them ends the session."""
    named = frozenset(filter(None, os.environ.get("LRA_REQUIRE", "").split(",")))
    if unknown := sorted(named.difference(NEEDS)):
        raise pytest.UsageError(f"LRA_REQUIRE names {', '.join(unknown)}; expected: {', '.join(NEEDS)}")
    return named


def lacking(need: str, reason: str) -> NoReturn:
    """Skip the test, or fail it where the need is required."""
    if need in required():
        pytest.fail(f"{reason} (LRA_REQUIRE={need})", pytrace=False)
    pytest.skip(reason)
