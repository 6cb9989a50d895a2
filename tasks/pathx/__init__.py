"""Path-X: Pathfinder at 128×128, 16,384 tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tasks.pathfinder import TASK as PATHFINDER
from tasks.pathfinder import Pathfinder


@dataclass(frozen=True, kw_only=True)
class PathX(Pathfinder):
    """Options of the Path-X data."""

    size: Literal[128] = 128
    """Pixels along a side."""


TASK = replace(PATHFINDER, name="pathx", title="Path-X", options=PathX, order=70)
