"""The tiers of tests with one case a variant: the first variant of each mechanism is quick, the others are slow."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from attention_cases import Case


def in_tiers(chosen: Iterable[Any]) -> list[Any]:
    """The chosen (case, backend); the first variant of each mechanism is quick, the others are slow."""
    tiers, first = [], dict[str, Case]()
    for each in chosen:
        case = each.values[0]
        marks = () if first.setdefault(case.name, case) == case else (pytest.mark.slow,)
        tiers.append(pytest.param(*each.values, id=each.id, marks=marks))
    return tiers
