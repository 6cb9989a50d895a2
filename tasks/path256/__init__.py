"""Path-256: Pathfinder at 256×256, 65,536 tokens."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from tasks.pathfinder import TASK as PATHFINDER
from tasks.pathfinder import Pathfinder


@dataclass(frozen=True, kw_only=True)
class Path256(Pathfinder):
    """Options of the Path-256 data."""

    size: Literal[256] = 256
    """Pixels along a side."""


TASK = replace(PATHFINDER, name="path256", title="Path-256", options=Path256, order=80)
