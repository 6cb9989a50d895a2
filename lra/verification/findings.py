"""The outcomes of a record's checks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["passed", "failed", "not checked", "not comparable"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The outcome of one check, and the reason."""

    check: str
    outcome: Outcome
    why: str = ""


def passed(check: str, why: str = "") -> Finding:
    """The check passed."""
    return Finding(check=check, outcome="passed", why=why)


def failed(check: str, why: str) -> Finding:
    """The check failed: the record is wrong, or this program is."""
    return Finding(check=check, outcome="failed", why=why)


def not_checked(check: str, why: str) -> Finding:
    """Something that the check needs is missing."""
    return Finding(check=check, outcome="not checked", why=why)


def not_comparable(check: str, why: str) -> Finding:
    """This machine or version computes other numbers, which is not a fault of the record."""
    return Finding(check=check, outcome="not comparable", why=why)


def any_failed(found: Iterable[Finding]) -> bool:
    """Whether any check failed."""
    return any(each.outcome == "failed" for each in found)
